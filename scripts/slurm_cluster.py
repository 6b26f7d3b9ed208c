"""A small real SLURM on this machine, for the tests: `start FOLDER`, `stop FOLDER`.

Every node is a slurmd of its own on this host. All files lie in FOLDER, all ports are free ones,
and only the processes started here are stopped. Needs root, and Debian's slurm-wlm and munge.
Afterwards `SLURM_CONF=FOLDER/slurm.conf` is all that sbatch and its family need.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

START_SECONDS = 60.0  # daemons need a second each on an idle machine
STOP_SECONDS = 30.0

_CONF = """\
ClusterName=sweep
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
# A requeued job waits until its old credential has run out: two minutes by default.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=20
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
{nodes}
# A job in 'urgent' takes the nodes of those in 'main', which are warned and put back in the queue.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=main Default=YES PriorityTier=1 GraceTime={grace}
PartitionName=urgent PriorityTier=2 PreemptMode=OFF
"""
_GRACE_SECONDS = 60
_NODE = (
    "NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
    " CPUs={cpus} RealMemory=4000 State=UNKNOWN"
)


def missing() -> list[str]:
    """What is not there of the programs needed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def start(folder: Path, nodes: int, cpus: int) -> None:
    """Start munged, slurmctld and the nodes; returns once all nodes are idle."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "state").mkdir()
    _start_munge(folder / "munge")
    host = socket.gethostname().partition(".")[0]
    first, *ports = _free_ports(nodes + 1)
    lines = [
        _NODE.format(number=number, host=host, port=port, cpus=cpus)
        for number, port in enumerate(ports, 1)
    ]
    conf = _CONF.format(
        host=host, port=first, folder=folder, nodes="\n".join(lines), grace=_GRACE_SECONDS
    )
    (folder / "slurm.conf").write_text(conf)
    _daemon(folder, "slurmctld", ["slurmctld", "-D"])
    for number in range(1, nodes + 1):
        (folder / f"spool-n{number}").mkdir()
        _daemon(folder, f"slurmd-n{number}", ["slurmd", "-D", "-N", f"n{number}"])
    _await(lambda: _idle(folder) == nodes, "the nodes to be idle", folder)


def stop(folder: Path) -> None:
    """Stop what `start` has started in this folder, jobs first."""
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        _ask(folder, ["scancel", "--user=root"])
        _await(lambda: not _ask(folder, ["squeue", "--noheader"]), "the jobs to end", folder)
    for file in sorted(folder.glob("pid-*"), reverse=True):  # slurmds, slurmctld, munged
        pid = int(file.read_text())
        if _alive(pid, file.name.removeprefix("pid-").partition("-")[0]):
            os.kill(pid, signal.SIGTERM)
            _await(lambda pid=pid: not _alive(pid), f"process {pid} to end", folder)
        file.unlink()


def _start_munge(folder: Path) -> None:
    """munged trusts only folders and a key that nobody else writes; it runs as its own user."""
    folder.mkdir(mode=0o755)
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    options.append(f"--seed-file={folder / 'seed'}")
    user = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"]
    _daemon(folder.parent, "munged", [*user, "munged", "--foreground", *options])
    _await((folder / "socket").exists, "munged's socket", folder.parent)


def _daemon(folder: Path, name: str, command: list[str]) -> None:
    """Start a process that outlives this one, and remember its number."""
    with (folder / f"out-{name}").open("wb") as out:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=_environment(folder),
            start_new_session=True,
        )
    (folder / f"pid-{name}").write_text(str(started.pid))


def _environment(folder: Path) -> dict[str, str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}


def _ask(folder: Path, command: list[str]) -> str:
    answer = subprocess.run(
        command, env=_environment(folder), capture_output=True, text=True, timeout=20, check=True
    )
    return answer.stdout.strip()


def _idle(folder: Path) -> int:
    with contextlib.suppress(subprocess.SubprocessError):
        states = _ask(folder, ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%T"])
        return states.split().count("idle")
    return 0


def _alive(pid: int, program: str = "") -> bool:
    """Whether the process runs, as that program: numbers are used again."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    name, _, state = line.partition("(")[2].rpartition(")")
    return state.split()[0] != "Z" and program[:15] in name


def _await(condition: Callable[[], object], what: str, folder: Path) -> None:
    seconds = STOP_SECONDS if "end" in what else START_SECONDS
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds:g} s for {what}: see the logs in {folder}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="per node, whatever this machine has")
    given = parser.parse_args()
    if absent := missing():
        sys.exit(f"not installed: {', '.join(absent)} (Debian's slurm-wlm and munge)")
    folder = given.folder.absolute()
    if given.verb == "stop":
        stop(folder)
        return
    start(folder, given.nodes, given.cpus)
    print(f"export SLURM_CONF={folder}/slurm.conf")


if __name__ == "__main__":
    main()
