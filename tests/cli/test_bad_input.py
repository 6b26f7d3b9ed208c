"""Bad input: exit status 2 and one sentence with what was given, what is accepted, the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.cli.main import main

# words → all of these stand in the sentence
REFUSED = [
    # unknown names
    ("modle.width=3", ["'modle'", "model, name", "did you mean 'model'"]),
    ("model.widht=3", ["'widht'", "activation, outputs, width", "did you mean 'width'"]),
    ("problem=iris", ["'iris'", "breast_cancer", "did you mean 'iris_pair'"]),
    ("problem=iris,xor", ["'iris'", "breast_cancer", "did you mean 'iris_pair'"]),
    ("study=defualt", ["'defualt'", "quick", "did you mean 'default'"]),
    ("optimizer=adma", ["'adma'", "lbfgs", "did you mean 'adam'"]),
    ("model.activation=rleu", ["'rleu'", "softplus", "did you mean 'relu'"]),
    ("arms.exq.weight_decay=1", ["'exq'", "plain", "did you mean 'exp'"]),
    ("~arms.exq", ["'exq'", "plain", "did you mean 'exp'"]),
    ("~problem.n", ["'n'", "classes", "standardise"]),
    ("arms.exp.augmnt=exp_skip", ["arms.exp", "'augmnt'", "did you mean 'augment'"]),
    ("arms.exp.augment=exp_skp", ["arms.exp", "'exp_skp'", "did you mean 'exp_skip'"]),
    ("arms.exp.lambda.law=log_unifrm", ["'log_unifrm'", "did you mean 'log_uniform'"]),
    ("arms.exp.lambda.lwo=1", ["arms.exp.lambda", "'lwo'", "did you mean 'low'"]),
    ("baseline=plian", ["'plian'", "exp, ", "did you mean 'plain'"]),
    ("compute=ray", ["'ray'", "cluster, local, serial"]),
    ("compute.wrokers=2", ["'wrokers'", "did you mean 'workers'"]),
    ("store.params=al", ["'al'", "judged", "did you mean 'all'"]),
    ("seeds.conut=3", ["'conut'", "did you mean 'count'"]),
    ("+foo=1", ["'foo'", "accepted are arms"]),
    ("hydra.run.dir=x", ["'hydra'", "accepted are arms"]),
    ("problem=two_moons,xor problem.n=80", ["'n'", "standardise"]),
    # wrong types
    ("optimizer.lr=abc", ["optimizer.lr", "'abc'", "number"]),
    ("seeds.count=ten", ["seeds.count is 'ten': a whole number or null is accepted."]),
    ("seeds.count=1.5", ["seeds.count is 1.5: a whole number or null is accepted."]),
    ("seeds.count=-1", ["seeds.count is -1: a whole number ≥ 1 and ≤ 100000000 is accepted."]),
    ("seeds.root=x", ["seeds.root is 'x': a whole number is accepted."]),
    (
        "compute=cluster compute.insecure=ture",
        ["'ture': true or false is accepted; did you mean 'true'?"],
    ),
    ("model.width=[2,x]", ["model.width[1] is 'x': a whole number is accepted."]),
    ("model.width=two", ["model.width is 'two': a whole number or a list is accepted."]),
    ("seeds=3", ["seeds", "3", "mapping"]),
    ("model.width=true", ["model.width", "True", "number"]),
    ("problem.standardise=3", ["problem.standardise", "3", "true or false"]),
    ("problem.classes=versicolor", ["problem.classes", "list"]),
    ("seeds.count.x=1", ["seeds.count", "1000"]),
    ("name=[a]", ["name", "'a'", "text"]),
    ("name=7", ["name is 7: text is accepted, in quotes of its own: \"'7'\"."]),
    ("arms.plain=3", ["arms.plain", "3", "mapping"]),
    ("arms.exp.lambda=high", ["arms.exp.lambda", "'high'", "log_uniform"]),
    ("model=null", ["'None'", "mlp"]),
    # out of range
    ("optimizer.lr=nan", ["optimizer.lr", "nan", "number"]),
    ("optimizer.lr=0", ["optimizer.lr", "0", "> 0"]),
    ("optimizer.lr=-1", ["optimizer.lr", "-1", "> 0"]),
    ("optimizer.lr=0.1,0", ["optimizer.lr", "0", "> 0"]),
    ("optimizer.lr=inf", ["optimizer.lr", "inf", "finite"]),
    ("arms.exp.lambda={law:fixed,value:-1}", ["lambda.value", "-1", "≥ 0"]),
    ("arms.exp.lambda=-1", ["lambda.value", "-1", "≥ 0"]),
    ("arms.exp.lambda.low=-1", ["lambda.low", "-1", "> 0"]),
    ("arms.exp.lambda.draws=0", ["lambda.draws", "0", "≥ 1"]),
    ("arms.exp.lambda={law:values,values:[]}", ["lambda.values", "[]", "list of numbers"]),
    ("arms.exp.lambda={law:uniform_shared,high:theory}", ["'theory'", "> 0"]),
    ("arms.exp.weight_decay=-1", ["arms.exp.weight_decay", "-1", "≥ 0"]),
    ("loss.p=2", ["loss.p", "2", "≥ 3"]),
    ("seeds.count=0", ["seeds.count", "0", "≥ 1"]),
    ("seeds.half_width=0.5", ["seeds.half_width is 0.5", "between 0 and 0.5"]),
    ("seeds.half_width=0", ["seeds.half_width is 0", "between 0 and 0.5"]),
    ("seeds.half_width=0.1 seeds.count=9", ["seeds.count and seeds.half_width are both given"]),
    ("seeds.half_width=0.1 seeds.max=0", ["seeds.max is 0", "≥ 1"]),
    ("seeds.half_width=0.1 seeds.max=1.5", ["seeds.max", "1.5", "whole number"]),
    ("seeds.half_width=0.1 seeds.confidence=1", ["seeds.confidence is 1.0", "between 0 and 1"]),
    ("seeds.half_width=0.1 seeds.target=exq", ["seeds.target 'exq'", "did you mean 'exp'"]),
    ("seeds.target=exp", ["seeds.half_width is null"]),
    ("seeds.first=-1", ["seeds.first", "-1", "≥ 0"]),
    ("model.width=0", ["model.width", "0", "≥ 1"]),
    ("compute.block_size=0", ["compute.block_size", "0", "≥ 1"]),
    ("stopping.max_steps=0", ["stopping.max_steps", "0", "≥ 1", "init=constructed"]),
    ("compute.seconds_per_job=0", ["compute.seconds_per_job", "0", "> 0"]),
    ("compute=serial compute.seconds_per_job=9", ["'seconds_per_job'", "compute=serial", "device"]),
    ("stopping.max_steps=-1", ["stopping.max_steps", "-1", "≥ 0"]),
    # too large
    ("loss.p=1e300", ["loss.p is 1e+300", "≤ 100"]),
    ("loss.p=101", ["loss.p is 101", "≤ 100"]),
    ("seeds.count=1e9", ["seeds.count is 1000000000", "≤ 100000000"]),
    ("seeds.first=1e30", ["seeds.first is 1e+30", f"≤ {2**63 - 10**8}"]),
    ("seeds.count=1e8 compute.block_size=1", ["at most 1000000", "compute.block_size"]),
    ("seeds.count=1e8 arms.exp.lambda.draws=10000", ["at most 1000000", "compute.block_size"]),
    ("arms.exp.lambda.draws=1e9", ["arms.exp.lambda.draws is 1000000000", "≤ 10000"]),
    ("model.width=100000", ["model.width is 100000", "≤ 4096"]),
    ("model.width=[2,100000]", ["model.width is [2, 100000]", "≤ 4096"]),
    ("model.width=range(1,1e12)", ["range(1,1e12)", "at most 10000"]),
    ("model.width=range(1,9000) optimizer.lr=0.1,0.2", ["35996 cells", "at most 10000"]),
    ("grid.optimizer.lr={law:uniform,low:1,high:2,draws:1e9}", ["draws is 1000000000", "≤ 10000"]),
    ("optimizer.batch_size=1000", ["optimizer.batch_size is 1000", "data points, 100,"]),
    ("optimizer=lbfgs optimizer.batch_size=2", ["'batch_size'", "max_line_search"]),
    # the place of a setting inside an arm
    ("arms.exp.lambda.high=nan", ["sweep: arms.exp.lambda.high is nan: a number"]),
    ("arms.exp.lambda.low=0", ["sweep: arms.exp.lambda.low is 0.0: a number > 0"]),
    ("study=quick arms.extra_neuron.augment.k=1.5", ["sweep: arms.extra_neuron.augment.k is 1.5"]),
    ("study=quick arms.extra_neuron.augment.k=0", ["sweep: arms.extra_neuron.augment.k is 0"]),
    # arms that make no sense
    ("arms={}", ["arms", "empty", "at least one"]),
    ("+arms.Big={}", ["'Big'", "small letters"]),
    ("+arms.a-b={}", ["a-b", "small letters"]),
    ("arms.exp.augment=none", ["arms.exp", "'augment'", "exp_skip"]),
    ("arms.exp.augment=extra_neuron", ["arms.exp", "'augment'", "exp_skip"]),
    ("~arms.exp.lambda", ["arms.exp.lambda", "missing", "'augment'"]),
    ("arms.plain.lambda=0.1", ["arms.plain.lambda", "'none'"]),
    (
        "problem=clouds model.outputs=3 loss=cross_entropy",
        ["sweep: arms.exp, arms.exp_unregularized, arms.extra_neuron: the problem has 3"],
    ),
    ("problem=clouds", ["sweep: model.outputs is 1", "model 'mlp' with outputs 3 is accepted"]),
    (
        "problem=xor model=convolution study=quick +arms.a.augment=exp_per_layer"
        " +arms.b.augment=exp_per_layer",
        [
            "arms.extra_neuron: the added neurons",
            "; arms.a, arms.b: augmentation 'exp_per_layer'",
        ],
    ),
    # the grid
    ("model.width=[]", ["model.width", "[]", "whole number"]),
    ("grid.model.width=[]", ["grid.model.width", "empty", "at least one"]),
    ("grid.model.width=3", ["grid.model.width", "3", "list"]),
    ("grid.model={width:[2,3]}", ["grid.model", "'model.width'"]),
    ("grid.modle.width=[2]", ["'modle.width'", "optimizer", "did you mean 'model'"]),
    ("grid=3", ["grid", "3", "mapping"]),
    ("grid=[]", ["grid", "empty"]),
    ("grid.optimizer.lr={law:normal,draws:3}", ["grid.optimizer.lr", "'normal'", "log_uniform"]),
    ("grid.optimizer.lr={law:uniform,low:1,high:0,draws:3}", ["grid.optimizer.lr", "0", "≥ low"]),
    ("~grid.optimizer.lr", ["'optimizer.lr'", "model.width"]),
    ("seeds.count=1,2", ["'seeds.count'", "running settings", "one value per run", "optimizer"]),
    ("compute.block_size=1,2", ["'compute.block_size'", "running settings", "one value per run"]),
    ("name=a,b", ["'name'", "running settings", "one value per run"]),
    ("grid.optimizer.lr={law:uniform,low:nan,high:1,draws:3}", ["grid.optimizer.lr.low is nan"]),
    ("study=quick study=xyz", ["study is given twice", "study=quick", "study=xyz"]),
    ("problem=xor problem=a,b", ["problem is given twice", "problem=a,b"]),
    ("compute=serial compute.workers=2", ["'workers'", "compute=serial", "block_size"]),
    ("compute.batch.nodes=2", ["compute=local", "'batch'", "known to compute=cluster."]),
    ("tracking=none tracking.url=x", ["'url'", "did you mean 'uri'"]),
    ("compute=serial,local", ["serial,local", "one value"]),
    ("study=default,quick", ["default,quick", "one value"]),
    ("model.width=interval(1,3)", ["interval(1,3)", "range(1,4)", "log_uniform"]),
    ("problem=glob(*)", ["glob(*)", "choice(a,b)"]),
    # grammar
    ("model.width=[2,3", ["'model.width=[2,3'", "key=value", "closed"]),
    ("tracking.uri=http://h/?a=b", ["tracking.uri=http://h/?a=b", "quotes", "[ ] { } , = ' \""]),
    ("problem.path=a,b[1.csv", ["problem.path=a,b[1.csv", "quotes", "[ ] { } , = ' \""]),
    ("quick", ["'quick'", "key=value", "study=quick"]),
    ("problem@x=xor", ["problem@x", "key=value"]),
    ("~problem", ["~problem", "choose"]),
    ("-m", ["-m", "multirun", "model.width=2,3"]),
    ("--multirun", ["--multirun", "model.width=2,3"]),
    ("--cfgs", ["--cfgs", "--cfg", "did you mean '--cfg'"]),
    ("--cfg hydra", ["hydra", "job"]),
    ("--config-dir /nowhere", ["/nowhere", "study/*.yaml"]),
    # what must not be reached from a config
    ("model._target_=os.system", ["model._target_", "name"]),
    ("+arms.x={augment:{_target_:os.system}}", ["arms.x.augment._target_", "name"]),
    ("model.width=${oc.env:HOME}", ["model.width", "${oc.env:HOME}", "${problem.n}"]),
    ("seeds.root=${oc.env:HOME}", ["seeds.root", "${oc.env:HOME}"]),
    ("model.width=${compute.workers}", ["model.width", "${compute.workers}"]),
    ("model.width=${problem.m}", ["model.width", "problem.m"]),
    ("store.root=${foo}", ["store.root", "foo"]),
    ("store.root=${oc.env:SWEEP_UNSET}", ["store.root", "SWEEP_UNSET"]),
    # tables
    ("problem=table", ["problem.path", "missing"]),
    ("problem=table problem.path=nowhere.csv", ["nowhere.csv", "existing file"]),
    ("problem=table problem.path=~/no/x.csv", [str(Path.home() / "no" / "x.csv"), "existing"]),
    ("problem=table problem.path=größe.csv", ["/größe.csv", "existing file"]),
    ("problem=table problem.path=a(1).csv", ["/a(1).csv", "existing file"]),
    # folders and addresses
    ("store.root=", ["store.root", "''", "folder"]),
    ("store.root=bad\udcff", ["'store.root=bad\\udcff'", "UTF-8"]),
    ("tracking.uri=foo", ["tracking.uri", "'foo'", "http://", "sqlite:///", "postgresql://"]),
    ("tracking.uri=sqlite:x.db", ["tracking.uri", "'sqlite:x.db'", "sqlite:///"]),
    ("tracking.uri=file:///x", ["tracking.uri", "'file:///x'", "sqlite:///"]),
    ("tracking.uri=", ["tracking.uri", "''", "null"]),
    ("name=../x study=quick", ["'../x'", "letters"]),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[words for words, _ in REFUSED])
def test_refused_in_one_sentence(
    words: str,
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEP_UNSET", raising=False)
    assert main(["run", *words.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("sweep: ")
    assert printed.err.count("\n") == 1
    for part in said:
        assert part in printed.err, printed.err
    assert list(tmp_path.iterdir()) == [], "a refusal must leave nothing behind"


STUDY_FILES = [
    ("arms: {plain: {}}", ["baseline is missing", "mine"]),
    ("baseline: plain", ["arms is missing", "mine"]),
    ("baseline: plain\narms: {plain: {}}\nextra: 1", ["'extra'", "accepted are arms"]),
    ("baseline: plain\narms: {plain: {}}\ngrid: {model: {width: [2]}}", ["'model.width'"]),
    ("baseline: plain\narms: {plain: {}}\nmodel: {_target_: os.system}", ["model._target_"]),
    ("baseline: plain\narms: {1: {}, plain: {}}\nmodel: {width: two}", ["model.width", "'two'"]),
]


@pytest.mark.parametrize(("body", "said"), STUDY_FILES)
def test_a_users_study_is_refused_in_one_sentence(
    body: str, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.yaml").write_text(f"# @package _global_\nname: mine\n{body}\n")
    assert main(["run", "--config-dir", str(tmp_path), "study=mine", f"store.root={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in said:
        assert part in error
