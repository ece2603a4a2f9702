"""A tiny release of the server in wheels, so that installing and starting it take a second and need no network.

Its packages have the names of the real ones. The server accepts connections, and prints what the real one prints.
"""

import base64
import hashlib
import shutil
import zipfile
from pathlib import Path

VERSION = "9.1.0"
SERVER = """
import os, signal, socket, sys, time

def main():
    arguments = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    if os.environ.get("TOY_SERVER_FAILS"):
        print("loading", file=sys.stderr)
        print("Error: The disk is on fire. Put it out.", file=sys.stderr)
        sys.exit(1)
    if os.environ.get("TOY_SERVER_IS_STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", int(arguments["--port"])))
    print(f"Device {arguments['--device']}, proxies {sorted(name for name in os.environ if 'PYTHONPATH' in name)}")
    print(f"ReWaS listens on 127.0.0.1:{listener.getsockname()[1]}. Ctrl-C ends it.", flush=True)
    while True:
        time.sleep(1)
"""
CHECK = f"import rewas_cli.main, toy_dependency; assert toy_dependency.WHOLE; print({VERSION!r})"


def write_wheel(
    folder: Path, name: str, modules: dict[str, str], *, requires: tuple[str, ...] = (), version: str = VERSION
) -> Path:
    """Write a wheel of pure Python, with the console script `rewas` if it contains rewas_cli."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    files = {path: text.encode() for path, text in modules.items()}
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{info}/METADATA"] = (metadata + "".join(f"Requires-Dist: {each}\n" for each in requires)).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if "rewas_cli/main.py" in modules:
        files[f"{info}/entry_points.txt"] = b"[console_scripts]\nrewas = rewas_cli.main:main\n"
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{distribution}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


def write_release(folder: Path, version: str = VERSION) -> tuple[Path, Path]:
    """Write the wheels and the pinned requirements. Returns the file of the requirements and the folder of wheels."""
    wheels = folder / "wheels"
    dependency = write_wheel(wheels, "toy-dependency", {"toy_dependency.py": "WHOLE = True\n"})
    write_wheel(wheels, "rewas-api", {"rewas_api/__init__.py": ""}, version=version)
    requires = (f"rewas-api=={version}", "toy-dependency")
    server = {"rewas_cli/__init__.py": "", "rewas_cli/main.py": SERVER}
    write_wheel(wheels, "rewas-nle", server, requires=requires, version=version)
    digest = hashlib.sha256(dependency.read_bytes()).hexdigest()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"# pinned\ntoy-dependency=={VERSION} \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    return requirements, wheels


def write_index(wheels: Path, folder: Path) -> None:
    """Write a package index of the wheels into `folder`, below "simple"."""
    for wheel in wheels.glob("*.whl"):
        page = folder / "simple" / wheel.name.split("-")[0].replace("_", "-") / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<!DOCTYPE html><html><body><a href="{wheel.name}">{wheel.name}</a></body></html>', "utf-8")
        shutil.copy(wheel, page.parent)
