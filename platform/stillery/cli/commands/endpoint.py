"""`stillery serve` and `stillery serve keys`."""

import argparse

from stillery.cli.command import Command


def _fill_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="a Ray Serve config file; the project's own is serving/serve.yaml"
    )
    parser.add_argument("--show-config", action="store_true", help="print the resolved config and stop")
    parser.add_argument("overrides", nargs="*", metavar="MODEL KEY=VALUE", help="such as embedded:teacher port=8001")


def _serve(parsed: argparse.Namespace) -> int:
    from stillery.cli.serve import serve_endpoint

    overrides = list(parsed.overrides)
    if overrides and "=" not in overrides[0]:
        overrides[0] = f"model={overrides[0]}"
    serve_endpoint(parsed.config, overrides, show_config=parsed.show_config)
    return 0


def _fill_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="make a key, and show it this once")
    add.add_argument("name", metavar="NAME", help="who uses it, such as phone-app; stands in logs and limits")
    add.add_argument("--days", type=float, help="how long it is good for (without: until revoked)")
    add.add_argument("--metrics", action="store_true", help="a key that opens the metrics and nothing else")
    show = actions.add_parser("list", help="names and states; the keys themselves are kept nowhere")
    revoke = actions.add_parser("revoke", help="revoke a key, from now on")
    revoke.add_argument("name", metavar="NAME", help="the key's name or id")
    for action in (add, show, revoke):
        action.add_argument("--file", default="keys.jsonl", metavar="FILE", help="the key file (default: keys.jsonl)")


def _keys(parsed: argparse.Namespace) -> int:
    from stillery.cli.keys import run_keys

    print(run_keys(parsed))
    return 0


COMMANDS = (
    Command(
        "serve",
        help="an OpenAI-compatible endpoint for a registered model, until Ctrl-C",
        description="Serve a model of the registry, a folder or a Hub model, following the registry's alias.",
        fill=_fill_serve,
        run=_serve,
    ),
    Command(
        "serve keys",
        help="the API keys of an endpoint: add, list, revoke",
        description="The key file of an endpoint (gateway.key_file). A running one reads it again when it changes.",
        fill=_fill_keys,
        run=_keys,
    ),
)
