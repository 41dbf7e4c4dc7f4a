"""Installs the clients that are not Python's into build/interop: packages of npm, programs in Go. What is there already, of
the versions that this folder names, is used again. When one can't be installed, the tests that need it fail."""

import contextlib
import fcntl
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PLACE = HERE.parent.parent / "build/interop"


def run(command, cwd, **more):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          env=os.environ | more, check=False)
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{output[-4000:]}"
    return output


def need(program, package):
    path = shutil.which(program)
    assert path, f"{program} is not installed (Debian's package {package}); ./dev setup test installs it"
    return path


@contextlib.contextmanager
def made_once(folder, *files, also=""):
    """Yields whether `folder` is still to be made: it is not there, or was made from other files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(also.encode())
    for file in files:
        digest.update(file.read_bytes())
    stamp = folder / ".made-from"
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = stamp.exists() and stamp.read_text() == digest.hexdigest()
        yield not fresh
        if not fresh:
            stamp.write_text(digest.hexdigest())


@functools.cache
def node_folder():
    """A folder with node_modules and the scripts of clients/ in it."""
    npm, folder = need("npm", "npm"), PLACE / "node"
    need("node", "nodejs")
    specification = [HERE / "package.json", HERE / "package-lock.json", HERE / ".npmrc"]
    with made_once(folder, *specification) as is_to_be_made:
        if is_to_be_made:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for file in specification:
                shutil.copy(file, folder)
            run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        # Beside node_modules, since that is where an import looks.
        shutil.copytree(HERE / "clients", folder / "clients", dirs_exist_ok=True)
    return folder


@functools.cache
def go_folder():
    """A folder with grpcurl and h2spec."""
    go, folder = need("go", "golang-go"), PLACE / "bin"
    specification = [HERE / "go/go.mod", HERE / "go/go.sum", HERE / "go/tools.go"]
    with made_once(folder, *specification, also=run([go, "version"], HERE)) as is_to_be_made:
        if is_to_be_made:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run([go, "build", "-trimpath", "-o", str(folder) + "/", "github.com/fullstorydev/grpcurl/cmd/grpcurl",
                 "github.com/summerwind/h2spec/cmd/h2spec"], HERE / "go", GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")
    return folder
