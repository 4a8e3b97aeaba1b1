"""The commands of bundles: ``kdmarl-sat fly``, ``replay``, ``quantise``, ``export``, ``describe`` and ``sign``.

Torch and Basilisk are imported only once the settings are known to be good.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from kdmarl_sat.arguments import Parser, whole
from kdmarl_sat.command import command, sentences
from scenarios.folders import check_file
from scenarios.onboard_sim import OnboardSimConfig
from scenarios.quantise import QuantiseRunConfig

SIGN = """Sign bundles, so that an executor with the operator's key flies no others (docs/security.md).

kdmarl-sat sign new-key FILE                      a random key, readable by its owner only
kdmarl-sat sign bundle FOLDER key=FILE sequence=N [ed25519=PRIVATE.pem]
kdmarl-sat sign verify FOLDER key=FILE [ed25519=PUBLIC.pem]

Sequence numbers grow: a bundle below the newest one accepted is refused.
"""


def fly() -> None:
    command("kdmarl-sat fly", "onboard_sim", OnboardSimConfig, _fly)


def _fly(config: OnboardSimConfig, folder: Path) -> None:
    from kdmarl_sat.bundles.fly import simulate

    simulate(config, folder)


def quantise() -> None:
    command("kdmarl-sat quantise", "quantise", QuantiseRunConfig, _quantise)


def _quantise(config: QuantiseRunConfig, folder: Path) -> None:
    from kdmarl_sat.bundles.quantise import quantise

    quantise(config, folder)


def export(arguments: Sequence[str] | None = None) -> None:
    from kdmarl_sat.bundles import export

    given = sys.argv[1:] if arguments is None else list(arguments)
    with sentences("kdmarl-sat export"):
        if not given or {"-h", "--help"} & set(given):
            print(export.__doc__)
            return
        for path in export.export(export.Order.parse(given)):
            print(f"{path}: {path.stat().st_size} bytes")


def sign(arguments: Sequence[str] | None = None) -> None:
    parser = Parser(prog="kdmarl-sat sign", description=SIGN)
    commands = parser.add_subparsers(prog=parser.prog, dest="command", required=True)
    commands.add_parser("new-key").add_argument("file", type=Path)
    for name in ("bundle", "verify"):
        each = commands.add_parser(name)
        each.add_argument("folder", type=Path)
        each.add_argument("--key", type=Path, required=True)
        each.add_argument("--ed25519", type=Path, help="PEM file")
        if name == "bundle":
            each.add_argument("--sequence", type=whole("sequence", 1, 2**63 - 1), required=True)
    options = parser.parse_args(arguments)

    from kdmarl_sat.bundles import sign
    from onboard.authentic import fingerprint, new_key, read_key

    with sentences(parser.prog):
        if options.command == "new-key":
            new_key(options.file)
            print(f"{options.file}: key {fingerprint(read_key(options.file))}")
        elif options.command == "bundle":
            written = sign.sign(options.folder, options.key, options.sequence, options.ed25519)
            print(f"{written}: sequence {options.sequence}")
        else:
            print(f"{options.folder}: signed, sequence {sign.verify(options.folder, options.key, options.ed25519)}")


def describe(arguments: Sequence[str] | None = None) -> None:
    text = "Write what a reviewer wants to know of a bundle's networks: equations, sizes, formats, costs, digests."
    parser = Parser(prog="kdmarl-sat describe", description=text)
    parser.add_argument("--bundle", type=Path, required=True, help="folder")
    parser.add_argument("--out", type=Path, help="file of Markdown; left out: standard output")
    options = parser.parse_args(arguments)

    from envs.files import write_whole
    from kdmarl_sat.bundles.describe import describe

    with sentences(parser.prog):
        if options.out is not None:
            check_file("out", options.out)
        page = describe(options.bundle)
        if options.out is None:
            print(page)
        else:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            print(write_whole(options.out, page.encode()))


def replay(arguments: Sequence[str] | None = None) -> None:
    text = "Decide a recorded flight again. Where it is decided otherwise, the first difference is shown (exit code 1)."
    parser = Parser(prog="kdmarl-sat replay", description=text)
    parser.add_argument("--record", type=Path, required=True, help="of a flight: kdmarl-sat fly record=true writes it")
    parser.add_argument("--bundle", type=Path, required=True, help="folder")
    parser.add_argument("--runner", default="native", choices=("native", "reference"), help="what computes")
    options = parser.parse_args(arguments)

    from kdmarl_sat.bundles.replay import replay

    with sentences(parser.prog):
        said, same = replay(options.record, options.bundle, options.runner)
        print(said)
        if not same:
            sys.exit(1)
