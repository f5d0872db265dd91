"""``headway host``: this machine as a host for runs of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway_cli import examples, terminal
from headway_cli.commands.cluster import no_room
from headway_cli.connecting import connect
from headway_cli.exits import ExitCode
from headway_cli.helping import Command, new_app
from headway_cli.options import Where, grouped
from headway_cli.problems import Problem, usage

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_cluster.hosts import HostMachine
    from headway_cluster.node.images import Image

app = new_app(
    "This machine as a host for runs: join, status, renew, leave.",
    no_args_is_help=True,
)
_NO_HOST = "this machine is no host"
_NO_HOST_ANY_MORE = "this machine is no host any more"


def join(
    where: Where,
    namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="NAMESPACE",
            help="Take runs of this namespace (repeatable); left out, of the current one.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the node; from this machine's.")
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="IP", help="Where the cluster reaches this machine for logs.")
    ] = "127.0.0.1",
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE=FOLDER", help="Python environment that an image stands for (repeatable)."
        ),
    ] = None,
    as_user: Annotated[
        str | None, typer.Option(metavar="USER", help="The user that runs are, where root joins.")
    ] = None,
    as_root: Annotated[
        bool, typer.Option("--as-root", help="Let runs be root, where root joins.")
    ] = False,
) -> None:
    """Let runs of a cluster come to this machine.

    They run as processes of this machine. It is no sandbox: whoever may create runs in the
    namespaces that you name may run programs here.
    """
    from headway_cluster.hosts import Joining, default_name

    client = connect(where)
    how = Joining(
        name=name or default_name(),
        namespaces=tuple(namespaces or [client.namespace]),
        images=_images(image or []),
        address=address,
        user=as_user,
        as_root=as_root,
    )
    with _told():
        _host().join(_Person(client), client.api.server, how, terminal.say)
    terminal.show(f"{how.name} takes runs of {', '.join(how.namespaces)}")
    terminal.say(
        "Next:",
        f"  headway run dummy --placement Host {where.flags()}".rstrip(),
        "  headway host leave",
    )


def leave(
    where: Where,
    now: Annotated[
        bool, typer.Option("--now", help="Evict what runs: it goes on elsewhere.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="The cluster is gone: ask it nothing, end what runs.")
    ] = False,
) -> None:
    """Take no more runs, let those that run end, and leave.

    Nothing of it is left then, neither here nor in the cluster. Ctrl-C while it waits: it stays,
    and takes runs again.
    """
    if forget:
        with _told():
            left_there = _host().forget(terminal.say)
        terminal.show(_NO_HOST_ANY_MORE if left_there else _NO_HOST)
        if left_there:
            terminal.say("If the cluster is still there:", f"  kubectl delete {left_there}")
        return
    host = _host()
    if host.status() is None and not host.folder.exists():
        terminal.show(_NO_HOST)
        return
    client = connect(where)
    with _told():
        left = host.leave(_Person(client), terminal.say, now=now)
    terminal.show(_NO_HOST_ANY_MORE if left else _NO_HOST)


def status() -> None:
    """Say whether this machine is a host, and of which cluster."""
    with _told():
        known = _host().status()
    if known is None:
        terminal.show(_NO_HOST)
        return
    runs = f"runs (pid {known.pid})" if known.pid else "does not run; join again"
    terminal.show(
        f"host {known.name} of {known.server}\n"
        f"  takes runs of  {', '.join(known.namespaces)}\n"
        f"  its agent      {runs}\n"
        f"  credential     until {known.credential_until:%Y-%m-%d}, renewed by its agent\n"
        f"  for logs       until {known.logs_until:%Y-%m-%d}; before that: headway host renew"
    )


def renew(where: Where) -> None:
    """Get another credential; runs go on meanwhile.

    Its agent renews the node's credential by itself, but not the certificate for logs.
    """
    client = connect(where)
    with _told():
        renewed = _host().renew(_Person(client), client.api.server, terminal.say)
    if not renewed:
        raise Problem(
            f"{_NO_HOST.capitalize()}.", todo=["headway host join"], code=ExitCode.NOT_FOUND
        )
    terminal.show("renewed")


app.command("join", cls=Command, epilog=examples.of("join"))(grouped(join))
app.command("status", cls=Command)(status)
app.command("renew", cls=Command)(grouped(renew))
app.command("leave", cls=Command)(grouped(leave))


class _Person:
    """The cluster, as whoever types this."""

    def __init__(self, client: OperationsClient) -> None:
        self._api = client.api

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; what is refused is an ``ApiError``, as the cluster package has them."""
        from headway.client_errors import ClientError, Forbidden, NameTaken, NotFound, Unreachable
        from headway.cluster_api import MERGE_PATCH
        from headway_cluster.node.api import ApiError, ApiUnavailableError

        kind = MERGE_PATCH if method == "PATCH" else "application/json"
        doing = f"{method.lower()} {path}"
        try:
            return self._api.request(method, path, body=body, doing=doing, content_type=kind)
        except NotFound as error:
            raise ApiError(404, "NotFound", str(error)) from error
        except NameTaken as error:
            raise ApiError(409, "AlreadyExists", str(error)) from error
        except Forbidden as error:
            raise ApiError(403, "Forbidden", str(error)) from error
        except Unreachable as error:
            raise ApiUnavailableError(str(error)) from error
        except ClientError as error:
            raise ApiError(0, "", str(error)) from error


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the cluster package as problems for people."""
    from headway_cluster.errors import ClusterError
    from headway_cluster.node.api import ApiError, ApiUnavailableError
    from headway_cluster.node.config import ConfigError

    try:
        yield
    except ClusterError as error:
        raise Problem(str(error), todo=error.todo) from error
    except ConfigError as error:
        raise Problem(str(error)) from error
    except ApiUnavailableError as error:
        raise Problem(str(error), todo=["headway doctor"], code=ExitCode.UNREACHABLE) from error
    except ApiError as error:
        refused = ExitCode.NOT_FOUND if error.code == 404 else ExitCode.REFUSED
        raise Problem(str(error), todo=["headway doctor"], code=refused) from error
    except OSError as error:
        raise no_room(error) from error


def _host() -> HostMachine:
    from headway_cluster.home import Home
    from headway_cluster.hosts import HostMachine

    return HostMachine(Home.find())


def _images(given: list[str]) -> dict[str, Image]:
    from headway_api import names
    from headway_api.version import __version__
    from headway_cluster.local import python_environment
    from headway_cluster.node.images import Image

    images = {names.default_trainer_image(__version__): python_environment()}
    for text in given:
        image, equals, folder = text.partition("=")
        bin_folder = Path(folder).expanduser() / "bin"
        if not equals or not bin_folder.is_dir():
            raise usage(f"--image {text}: that is no IMAGE=FOLDER of a Python environment.")
        images[image] = Image(path=(str(bin_folder),), env={"PYTHONUNBUFFERED": "1"})
    return images
