"""What people mistype to `sweep submit`, `logs`, `cancel` and `status`: one sentence, exit 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.batch import Batch
from sweep.cli.main import main
from sweep.errors import UserError
from sweep.submission import records
from sweep.submission.base import Submission
from sweep.submission.marker import marker_file, write_marker

ID = "0123456789ab"

# keys of compute.batch → what is given → all of these stand in the sentence
SETTINGS: list[tuple[str, object, list[str]]] = [
    ("time_limit", "30", ["'30'", "HH:MM:SS or D-HH:MM:SS"]),
    ("time_limit", "4h", ["'4h'", "'04:00:00'"]),
    ("time_limit", "08:00", ["'08:00'", "'2-00:00:00'"]),
    ("time_limit", "2-00", ["'2-00'", "D-HH:MM:SS"]),
    ("time_limit", "00:00:00", ["'00:00:00'", "longer than nothing"]),
    ("time_limit", "0-00:00:00", ["'0-00:00:00'", "longer than nothing"]),
    ("memory_per_node_gb", 0.0, ["0.0", "GB ≥ 1"]),
    ("memory_per_node_gb", 1e-9, ["1e-09", "GB ≥ 1"]),
    ("memory_per_node_gb", 1e9, ["1000000000.0", "< 1000000"]),
    ("nodes", 0, ["0", "≥ 1"]),
    ("partition", "gpu\nrm -rf /", ["'gpu\\nrm -rf /'", "one word"]),
    ("partition", "gpu;id", ["'gpu;id'", "one word"]),
    ("account", "$(id)", ["'$(id)'", "one word"]),
    ("image", "me/my sweep:1", ["'me/my sweep:1'", "one word"]),
    ("python", "~/venv/bin/python", ["'~/venv/bin/python'", "home folder"]),
    ("python", ".venv/bin/python", ["'.venv/bin/python'", "absolute path"]),
    ("namespace", "My_Team", ["'My_Team'", "small letters, digits, -,"]),
    ("namespace", "a.b", ["'a.b'", "small letters, digits, -,"]),
    ("namespace", "n" * 64, ["nnn", "small letters"]),
    ("volume_claim", "Results", ["'Results'", "small letters, digits, - and ."]),
    ("service_account", "-me", ["'-me'", "small letters"]),
    ("mount_path", "results", ["'results'", "absolute path"]),
    ("mount_path", "/a:b", ["'/a:b'", "absolute path"]),
    ("extra", ("--x\nid",), ["single lines"]),
]


@pytest.mark.parametrize(
    ("key", "value", "said"), SETTINGS, ids=[f"{k}={v!r}" for k, v, _ in SETTINGS]
)
def test_settings_that_no_batch_system_reads_are_refused(
    key: str, value: object, said: list[str]
) -> None:
    with pytest.raises(UserError, match=rf"^compute\.batch\.{key} ") as caught:
        Batch(**{key: value})
    for part in said:
        assert part in str(caught.value)


def test_names_that_kubernetes_takes_are_taken() -> None:
    Batch(namespace="team-7", volume_claim="rows.v1", service_account="sweep", mount_path="/a/b.c")


def test_no_setting_reaches_a_shell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Words that are taken stand in the script as one word, quoted where a shell would read on."""
    place = tmp_path / "a $(touch hit) 'b"
    words = ["submit", "--to", "slurm", "--dry-run", "study=quick", f'store.root="{place}"']
    assert main(words) == 2  # sbatch could not name its log there
    assert capsys.readouterr().err.count("\n") == 1
    place = tmp_path / "a $(touch hit) b"
    assert main([*words[:-1], f'store.root="{place}"']) == 0
    script = capsys.readouterr().out
    naming = [line for line in script.splitlines() if "hit" in line]
    assert naming
    assert all("'" in line or line.startswith('#SBATCH --output="') for line in naming)


STORE = ("tracking=none", "store.root=memory://rows")
JOB = ("compute.gpus_per_job=1", "compute.batch.gpus_per_node=0")
WORDS: list[tuple[list[str], list[str]]] = [
    (["submit", "study=quick"], ["--to ray|slurm|kuberay"]),
    (["submit", "--to"], ["--to", "--help"]),
    (["submit", "--to", "slrum"], ["'slrum'", "did you mean 'slurm'"]),
    (["submit", "--to", "ray", "--to", "slurm"], ["--to is given twice, as ray and slurm"]),
    (["submit", "--too", "ray"], ["'--too'", "did you mean '--to'"]),
    (["submit", "--to", "ray", "--watt"], ["'--watt'", "did you mean '--wait'"]),
    (["submit", "--to", "slurm", "--address", "http://h"], ["'http://h'", "SLURM_CONF"]),
    (["submit", "--to", "slurm", "--insecure"], ["--insecure", "--to ray"]),
    (["submit", "--to", "slurm", "compute=local"], ["'local'", "compute=cluster"]),
    (["submit", "--to", "slurm", *STORE], ["'memory://rows/default-", "a folder"]),
    (["submit", "--to", "slurm", "compute.batch.node=2"], ["'node'", "did you mean 'nodes'"]),
    (["submit", "--to", "slurm", "--dry-run", *JOB], ["gpus_per_job is 1", "gpus_per_node is 0"]),
    (["logs"], ["one study that you submitted"]),
    (["logs", "a", "b"], ["one study that you submitted"]),
    (["cancel", f"quick-{ID}"], [f"'quick-{ID}'", f"did you mean 'mine-{ID}'"]),
    (["status", f"quick-{ID}"], [f"'quick-{ID}'", "no folder", f"did you mean 'mine-{ID}'"]),
    (["status", f"mine-{ID[::-1]}"], ["submitted from here, and no folder"]),
]


@pytest.mark.parametrize(("words", "said"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
def test_words_are_refused_in_one_sentence(
    words: list[str],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records.keep(Submission("ray", f"sweep-{ID}-1", ID, "mine", "/none", "2026-11-22"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("sweep: ")
    assert printed.err.count("\n") == 1
    for part in said:
        assert part in printed.err, printed.err
    assert list((tmp_path / "here").iterdir()) == []


def test_a_record_that_is_no_text_is_named(
    own_records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records.prepare()
    (own_records / f"{ID}.json").write_bytes(b"\xff\xfe\x00")
    assert main(["logs", ID]) == 2
    printed = capsys.readouterr().err
    assert "is damaged" in printed
    assert printed.count("\n") == 1


def test_status_without_the_cluster_is_what_the_run_itself_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / f"mine-{ID}"
    kept = Submission("ray", f"sweep-{ID}-1", ID, "mine", str(root), "now", "http://127.0.0.1:1")
    records.keep(kept)
    assert main(["status", ID]) == 0
    assert "state    not known: Ray's job server at http://127.0.0.1:1 cannot" in (
        capsys.readouterr().out
    )
    write_marker(marker_file(root, kept.id), 0, root.name)
    assert main(["status", ID]) == 0
    assert "state    succeeded: the run ended with exit status 0" in capsys.readouterr().out


Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """`program(name, does)`: a command of that name, the only ones on PATH beside the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name: str, does: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)

    return make


def test_what_sbatch_refuses_leaves_nothing_behind(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program("squeue", "exit 0")
    program("sbatch", "echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1")
    store = tmp_path / "results"
    store.mkdir()
    words = ["submit", "--to", "slurm", "study=quick", "tracking=none", f"store.root={store}"]
    assert main([*words, "compute.batch.partition=gpuu"]) == 2
    printed = capsys.readouterr().err
    assert "invalid partition specified: gpuu" in printed
    assert printed.count("\n") == 1
    assert list(store.iterdir()) == []
    assert main([*words, *JOB]) == 2
    assert list(store.iterdir()) == []


def test_a_submission_that_is_interrupted_is_known_all_the_same(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C reaches sweep while sbatch is at work: the job is told, kept, and can be ended."""
    program("squeue", "exit 0")
    program("sbatch", "kill -INT $PPID; echo 4711")
    words = ["submit", "--to", "slurm", "study=quick", "tracking=none"]
    assert main([*words, f"store.root={tmp_path / 'results'}"]) == 130
    printed = capsys.readouterr()
    assert "submitted to slurm as sweep-" in printed.out
    assert printed.err == "sweep: interrupted.\n"
    (file,) = records.records_folder().iterdir()
    assert records.require(file.stem).job == "4711"


def test_kubectl_that_is_not_there_or_refuses_is_said_in_one_sentence(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    kept = {"namespace": "default"}
    records.keep(
        Submission("kuberay", f"sweep-{ID}-1", ID, "mine", "/none", "2026-11-22", details=kept)
    )
    for command in ("logs", "cancel"):
        assert main([command, ID]) == 2
        printed = capsys.readouterr().err
        assert "'kubectl' is not there" in printed
        assert printed.count("\n") == 1
    running = json.dumps({"status": {"jobDeploymentStatus": "Running"}})
    program(
        "kubectl",
        f"case $2 in get) echo '{running}';; *) echo 'error: no such pod' >&2; exit 1;; esac",
    )
    assert main(["logs", ID]) == 2
    assert capsys.readouterr().err == "sweep: kubectl refuses 'logs': error: no such pod.\n"
