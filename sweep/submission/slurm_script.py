"""The script that sbatch is given: Ray across the allocation, one run, and everything ended again.

It is written to be read. Nothing in it is secret: Ray's token is made on the first node and goes
to the others through srun's standard input.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from sweep.batch import Batch
from sweep.errors import UserError
from sweep.storage.objects import SEPARATOR
from sweep.submission.base import Parcel, require_fitting
from sweep.submission.node import TOLD

LONGEST_LEAD = 120  # seconds before the time limit at which the run is asked to end

_MIB_PER_GB = 1e9 / 2**20


@dataclass(frozen=True)
class Places:
    """Where a submission's own files lie, all below `<results>/.submission`, which nodes share."""

    parcel: Path
    log: Path
    marker: Path

    @classmethod
    def of(cls, parcel: Parcel, submission_id: str) -> Places:
        """The places of one submission."""
        marker = parcel.marker(submission_id)
        return cls(marker.with_suffix(""), marker.with_suffix(".log"), marker)


def render(parcel: Parcel, submission_id: str) -> str:
    """The whole script.

    Raises `UserError` for what sbatch would not read, no node could hold, or no folder is.
    """
    require_fitting(parcel.compute)
    if SEPARATOR in parcel.results:
        raise UserError(
            f"store.root leads to '{parcel.results}': SLURM keeps its script, log and marker beside"
            " the results, so a folder that all nodes share is accepted."
        )
    batch, places = parcel.compute.batch, Places.of(parcel, submission_id)
    values = {
        "label": parcel.label,
        "results": shlex.quote(parcel.results),
        "parcel": shlex.quote(str(places.parcel)),
        "marker": shlex.quote(str(places.marker)),
        "python": shlex.quote(batch.python),
        "nodes": str(batch.nodes),
        "run": shlex.join(parcel.command(submission_id)),
        "srun": " ".join(_step(batch)),
        "shape": f"--cpus={batch.cpus_per_node} --gpus={batch.gpus_per_node}"
        f" --megabytes={_megabytes(batch)}",
        "join_seconds": str(batch.join_seconds),
        "limit": str(seconds(batch.time_limit)),
        "told": TOLD,
    }
    body = re.sub(r"@(\w+)@", lambda found: values[found[1]], _BODY)
    return "\n".join(["#!/bin/bash", *_header(batch, places, submission_id), "", body])


def seconds(time_limit: str) -> int:
    """A limit HH:MM:SS or D-HH:MM:SS in seconds."""
    days, _, clock = time_limit.rpartition("-")
    hours, minutes, rest = (int(part) for part in clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def _header(batch: Batch, places: Places, submission_id: str) -> list[str]:
    lead = min(LONGEST_LEAD, max(1, seconds(batch.time_limit) // 4))
    options = {
        "job-name": submission_id,
        "nodes": batch.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": batch.cpus_per_node,
        "gpus-per-node": batch.gpus_per_node or None,
        "mem": f"{_megabytes(batch)}M",
        "time": batch.time_limit,
        "partition": batch.partition,
        "account": batch.account,
        "output": _quoted(places.log),
        "open-mode": "append",
        "signal": f"B:USR1@{lead}",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
    return [*lines, "#SBATCH --requeue", *map(_extra, batch.extra)]


def _extra(line: str) -> str:
    bare = line.removeprefix("#SBATCH").strip()
    if not bare.startswith("-"):
        raise UserError(
            f"compute.batch.extra holds '{line}': an option of sbatch such as '--constraint=a100'"
            " is accepted."
        )
    return f"#SBATCH {bare}"


def _quoted(path: Path) -> str:
    """A path as sbatch reads it, which gives a meaning to %, to # and to spaces."""
    text = str(path)
    if not text.isprintable() or re.search(r"[\"'\\]", text):
        raise UserError(
            f"store.root leads to {text!r}: sbatch takes no path with quotes, a backslash or a line"
            " break."
        )
    text = text.replace("%", "%%")
    return text if re.fullmatch(r"[\w./%+:@=,~-]+", text) else f'"{text}"'


def _step(batch: Batch) -> list[str]:
    """One task per node; a task that ends takes no other with it."""
    gpus = [f"--gpus-per-node={batch.gpus_per_node}"] if batch.gpus_per_node else []
    shape = [f"--nodes={batch.nodes}", f"--ntasks={batch.nodes}", "--ntasks-per-node=1"]
    shape = [*shape, f"--cpus-per-task={batch.cpus_per_node}", *gpus]
    return ["srun", *shape, "--export=ALL", "--kill-on-bad-exit=0", "--wait=0"]


def _megabytes(batch: Batch) -> int:
    return int(batch.memory_per_node_gb * _MIB_PER_GB)


_BODY = """\
# @label@, submitted by 'sweep submit --to slurm'.
# SLURM sends USR1 ahead of the time limit, and TERM to the script, to Ray, or to both, ahead of a
# pre-emption: jobs in flight are dropped whole, this job goes back into the queue, and the next
# attempt resumes. How it ended is in $marker.
set -u

results=@results@
parcel=@parcel@
marker=@marker@
python=@python@
limit=@limit@ # seconds

cd "$parcel" || exit 1
rm -f "$marker" # an earlier attempt's
export PYTHONPATH="$parcel${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
node=("$python" -m sweep.submission.node)
rows() { find "$results/rows" -name '*.parquet' 2>/dev/null | sort | cksum; }
rows_before=$(rows)

# Whatever is waited for hears of the end that somebody asks for.
asked='' current='' ray='' private=''
# shellcheck disable=SC2317 # the traps call it
asked_by() { asked=${asked:-$1}; if [ -n "$current" ]; then kill -TERM "$current" 2>/dev/null; fi; }
trap 'asked_by limit' USR1
trap 'rm -rf "$private"; asked_by slurm' TERM # it may kill before there is time for it
trap 'if [ -n "$ray" ]; then asked_by ray; fi' USR2 # Ray is gone, and not because of us
until_ended() { while kill -0 "$1" 2>/dev/null; do wait "$1"; done; }

# The token stays on this node, in a folder closed to others, and Ray stops with this script.
private=$(mktemp -d /tmp/sweep-XXXXXX) || exit 1
clean_up() {
  local running=$ray
  ray=''
  rm -f "$private/token"
  if [ -n "$running" ]; then # asked through SLURM: srun itself would kill at once
    scancel --signal=TERM "$SLURM_JOB_ID.0" 2>/dev/null
    until_ended "$running"
  fi
  rm -rf "$private"
}
trap clean_up EXIT
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$private/token"
"${node[@]}" token "$RAY_AUTH_TOKEN_PATH" && head=$("${node[@]}" address) || exit 1

# Ray: the first task is the head, the others join it.
(
  trap : TERM
  @srun@ \\
    "${node[@]}" start "$head" @shape@ \\
    <"$private/token" >"$private/ray.log" 2>&1
  kill -USR2 $$
) &
ray=$!

"${node[@]}" wait "$head" --nodes=@nodes@ --seconds=@join_seconds@ &
current=$!
if [ -n "$asked" ]; then kill -TERM "$current"; fi # it came in between
until_ended "$current"
wait "$current"
joined=$?

if [ -z "$asked" ] && [ "$joined" -eq 0 ]; then
  export RAY_ADDRESS="$head"
  @run@ &
  current=$!
  if [ -n "$asked" ]; then kill -TERM "$current"; fi
  until_ended "$current"
fi
current=''
# A run dies with its Ray, often before that has said that it was told to end.
told() { grep -qs '^@told@' "$private/ray.log"; }
if [ -z "$asked" ] && [ ! -e "$marker" ]; then
  for _ in {1..5}; do if told; then break; else sleep 1; fi; done
fi
crashed=''
if told; then asked=${asked:-ray}; elif [ "$asked" = ray ]; then asked='' crashed=1; fi
if [ -n "$crashed" ] || { [ -z "$asked" ] && [ "$joined" -ne 0 ]; }; then
  tail -n 20 "$private/ray.log"
fi
clean_up

# The marker is the truth; without one, the run has failed.
"${node[@]}" verdict "$marker" ${asked:+--interrupted} ${crashed:+--failed}
status=$?
if [ -z "$asked" ] || [ "$status" -eq 0 ]; then
  exit "$status"
fi
# A job that somebody has cancelled no longer counts as running.
if [ "$asked" != limit ] &&
  [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" != RUNNING ]; then
  exit "$status"
fi
if [ "$asked" = limit ] && [ "$(rows)" = "$rows_before" ] && [ $((2 * SECONDS)) -gt "$limit" ]; then
  echo "sweep: no job ended within the time limit: raise compute.batch.time_limit, or lower" \\
    "compute.block_size." >&2
elif scontrol requeue "$SLURM_JOB_ID"; then
  exit 0 # SLURM runs this script again
fi
"${node[@]}" verdict "$marker" --failed
exit 1
"""
