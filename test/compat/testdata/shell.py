# SPDX-License-Identifier: Apache-2.0
"""The openstack command, many times in one process.

Each line on standard input is a request in JSON, each line on standard output its answer:

  {"env": {...}, "args": [...]}  runs `openstack args...`    -> {"code": 0, "out": "...", "err": "..."}
  {"env": {...}, "groups": [...]} asks what commands there are -> {"commands": {"network create": ["--share", ...], ...}}

Every run has a shell of its own (argument parser, session, token), and what the client keeps beyond a run is dropped, so
nothing is carried from one to the next; what is saved is the second that the interpreter needs to load the client.
"""
import importlib.metadata
import io
import json
import logging
import os
import sys
import warnings

warnings.simplefilter("ignore")
sys.argv[0] = "openstack"  # it is in messages
from cliff import lister, show  # noqa: E402
from openstackclient import shell  # noqa: E402
from openstackclient.common import clientmanager  # noqa: E402
from osc_lib.clientmanager import ClientCache  # noqa: E402

versions = [(m.API_VERSIONS, dict(m.API_VERSIONS)) for m in clientmanager.PLUGIN_MODULES if hasattr(m, "API_VERSIONS")]


def run(args):
    logging.getLogger("").handlers.clear()  # each shell adds its own
    for base in clientmanager.ClientManager.__mro__:
        for held in vars(base).values():  # the clients of the services, with their session, are kept with the class
            if isinstance(held, ClientCache):
                held._handle = None
    for table, whole in versions:  # making Cinder's client takes a version from its table
        table.update(whole)
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    requests, sys.stdin = sys.stdin, io.StringIO("y\n")  # for commands that ask whether they shall go on
    try:
        try:
            code = shell.main(args)
        except SystemExit as e:  # how argparse ends
            code = e.code
        return {"code": code or 0, "out": sys.stdout.getvalue(), "err": sys.stderr.getvalue()}
    finally:
        sys.stdout, sys.stderr, sys.stdin = out, err, requests


def options(parser):
    return {o for a in parser._actions for o in a.option_strings if o.startswith("--")}


def commands(groups):
    """The commands of some groups, with the options that are theirs and not those of every list or object shown."""
    out, sys.stdout = sys.stdout, io.StringIO()
    try:
        app = shell.OpenStackShell()
        app.run(["command", "list"])
    finally:
        sys.stdout = out
    common = set()
    for base in (lister.Lister, show.ShowOne):
        plain = type("Plain", (base,), {"take_action": lambda self, args: None, "auth_required": False})
        common |= options(plain(app, None).get_parser("plain"))
    return {"commands": {
        entry.name.replace("_", " "): sorted(options(entry.load()(app, None).get_parser("any")) - common)
        for group in groups for entry in importlib.metadata.entry_points(group=group)
    }}


for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    os.environ.update(request["env"])
    answer = commands(request["groups"]) if "groups" in request else run(request["args"])
    print(json.dumps(answer), flush=True)
