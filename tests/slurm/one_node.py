"""A private Slurm of one node on this machine, from Debian's packages, as root and without systemd.

Everything it writes is in one folder, its ports are free ones, and its clients are those that have its SLURM_CONF: a
Slurm or a database that this machine has already is left alone, and so is ``/etc``. Every daemon is a child of the
process that asked for it, which ends them in the reverse order::

    munged       who is who
    mariadbd     where the accounting is kept
    slurmdbd     accounting: what sacct asks
    slurmctld    the queue
    slurmd       the node
"""

__all__ = ["Slurm", "running"]

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("mariadb-server", "munge", "slurm-client", "slurmctld", "slurmd", "slurmdbd")
_PROGRAMS = ("mariadbd", "mariadb-install-db", "munged", "sacct", "sbatch", "slurmctld", "slurmd", "slurmdbd")
_READY_S = 60.0


@dataclass(kw_only=True)
class Slurm:
    """A Slurm that takes jobs.

    Args:
        folder: Where all that it writes is.
        environ: Environment of its daemons and clients.
        node: The daemon of the node.
    """

    folder: Path
    environ: Mapping[str, str]
    node: subprocess.Popen

    def crash(self, job: str) -> None:
        """End the node as a loss of power would: its daemon, and every process of a job on it."""
        pids = self.said("scontrol", "listpids", job).splitlines()[1:]
        self.node.kill()
        self.node.wait()
        shepherds = self.said("pgrep", "-f", rf"^slurmstepd: \[{job}[.]").split()
        for pid in (*shepherds, *(line.split()[0] for line in pids)):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(pid), signal.SIGKILL)

    def switch_on(self) -> None:
        """Begin the node again."""
        self.node = _daemon(["slurmd", "-D"], self.folder, self.environ)
        self.wait_for_the_node()

    def said(self, *words: str) -> str:
        """Return what a client answers."""
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60, env=self.environ).stdout

    def wait_for_the_node(self) -> None:
        """Return when the node takes jobs."""
        states = ("idle", "mixed", "allocated", "completing")
        _wait(lambda: self.said("sinfo", "-h", "-o", "%T").strip() in states, "node", self.folder)


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """Bring a Slurm up, installing what is missing, and take it down in the end with all its jobs.

    Args:
        folder: An empty folder for all that it writes; a short path, for it holds sockets.

    Raises:
        RuntimeError: It cannot be installed, or does not come up.
    """
    _install()
    ports = dict(zip(("database", "accounting", "queue", "node"), _free_ports(4), strict=True))
    _configure(folder, ports)
    environ = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as daemons:

        def begin(*words: str) -> subprocess.Popen:
            process = _daemon(list(words), folder, environ)
            daemons.callback(_end, process)
            return process

        munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("key-file", "pid-file", "seed-file")]
        begin(
            "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--log-file={folder}/m.log", *munge
        )
        data = ["--no-defaults", f"--datadir={folder}/database", "--user=root"]
        _run(["mariadb-install-db", *data, "--auth-root-authentication-method=normal", "--skip-test-db"])
        place = [f"--socket={folder}/db.socket", "--bind-address=127.0.0.1", f"--port={ports['database']}"]
        begin("mariadbd", *data, *place, f"--pid-file={folder}/db.pid", "--skip-name-resolve")
        client = ["mariadb", "--no-defaults", f"--socket={folder}/db.socket", "-e"]
        accounts = "create user slurm@127.0.0.1 identified by 'slurm'; grant all on *.* to slurm@127.0.0.1"
        _wait(lambda: _run([*client, accounts]), "mariadbd", folder)
        begin("slurmdbd", "-D")
        _wait(lambda: _run(["sacctmgr", "--immediate", "add", "cluster", "one_node"], environ), "slurmdbd", folder)
        begin("slurmctld", "-D")
        _wait(lambda: _run(["scontrol", "ping"], environ), "slurmctld", folder)
        up = Slurm(folder=folder, environ=environ, node=_daemon(["slurmd", "-D"], folder, environ))
        daemons.callback(lambda: _end(up.node))  # the one that is there then
        up.wait_for_the_node()
        yield up
        with suppress(subprocess.SubprocessError):
            up.said("scancel", "--user=root")
            _wait(lambda: not up.said("squeue", "-h"), "queue", folder)


def _install() -> None:
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0:
        raise RuntimeError("a Slurm is brought up by root alone: run this as root, in a container perhaps")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"{', '.join(missing)} are not installed, and there is no apt-get to install them with")
    try:
        _run(["apt-get", "update", "-qq"], timeout_s=300)
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *_PACKAGES], quiet, timeout_s=900)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or error
        raise RuntimeError(f"{', '.join(missing)} are missing and cannot be installed: {said}") from error


def _configure(folder: Path, ports: Mapping[str, int]) -> None:
    """Write what the daemons read."""
    for name in ("state", "spool", "database"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host, n_cores = socket.gethostname().partition(".")[0], os.cpu_count()
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 8 // 10 // 2**20
    authentic = f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge.socket"
    accounting = folder / "slurmdbd.conf"
    accounting.write_text(f"""\
{authentic}
DbdHost=localhost
DbdPort={ports["accounting"]}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports["database"]}
StorageUser=slurm
StoragePass=slurm
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
""")
    accounting.chmod(0o600)
    # a job that was requeued waits until its credential has expired, by default two minutes
    (folder / "slurm.conf").write_text(f"""\
ClusterName=one_node
{authentic},cred_expire=5
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports["queue"]}
SlurmdPort={ports["node"]}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports["accounting"]}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/linux
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=2
ReturnToService=2
SlurmdTimeout=10
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={n_cores} CoresPerSocket={n_cores} RealMemory={memory_mb}
PartitionName=one Nodes={host} Default=YES MaxTime=INFINITE State=UP
""")


def _free_ports(n: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _daemon(words: list[str], folder: Path, environ: Mapping[str, str]) -> subprocess.Popen:
    with (folder / f"{words[0]}.out").open("ab") as file:
        return subprocess.Popen(words, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _run(words: list[str], environ: Mapping[str, str] | None = None, *, timeout_s: float = 60) -> bool:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=timeout_s, env=environ)
    return True


def _wait(ready: Callable[[], object], name: str, folder: Path) -> None:
    """Return when something is ready; what it says until then does not count."""
    deadline = time.monotonic() + _READY_S
    last: object = "nothing"
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except subprocess.SubprocessError as error:
            last = getattr(error, "stderr", None) or error
        time.sleep(0.5)
    logs = "\n".join(f"{path}: {path.read_text()[-500:]}" for path in sorted(folder.glob(f"{name}*.out")))
    raise RuntimeError(f"{name} is not ready after {_READY_S:.0f} s; last: {last}\n{logs}")
