"""Whatever goes wrong is one line with a code and the next step, never a traceback that nobody asked for."""

import json

import pytest

from malmoi.core.errors import MalmoiError

VERBS = ["quickstart", "recipes", "corpus", "pretrain", "supervise", "evaluate"]
VERBS += ["embed", "neighbours", "generate", "probe", "finetune", "doctor", "import", "export"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pretian"], "M098", "did you mean 'pretrain'?"),
        (["neighbors", "r"], "M098", "did you mean 'neighbours'?"),
        (["zzz"], "M098", "there is no verb 'zzz'. next: `malmoi --help`"),
        (["pretrain", "--minuets", "3"], "M098", "did you mean '--minutes'? next: `malmoi pretrain --help`"),
        (["--jsno"], "M098", "there is no option --jsno"),
        (["evaluate"], "M098", "Missing argument 'RUN'"),
        (["evaluate", "r"], "M098", "Missing option '--on'"),
        (["pretrain", "elmo-tiny", "--corpus", "a", "--out", "r", "--steps", "many"], "M098", "'--steps'"),
        (["embed", "r", "--input", "i", "--output", "o", "--pool", "men"], "M098", "'men' is not one of 'none', 'mean', 'first'"),
        (["export", "r", "allennlp", "more", "--out", "d"], "M098", "more"),
        (["recipes", "elmo-smal"], "M001", "did you mean 'elmo-small'?"),
        (["recipes", "no_such_module_here:f"], "M009", "ModuleNotFoundError"),
    ],
)
def test_a_wrong_command_line(arguments, code, words, malmoi_command):
    ran = malmoi_command(*arguments)
    assert ran.status == 1 and ran.out == ""
    assert ran.err.startswith(f"malmoi: {code}: ") and words in ran.err and " next: " in ran.err and ran.err.count("\n") == 1
    ran = malmoi_command(*arguments, "--json")
    assert ran.status == 1
    error = json.loads(ran.out)["error"]
    assert error["code"] == code and set(error) == {"code", "message", "next"} and error["message"] in ran.err


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (MalmoiError("M010", path="말모이.txt", nearest=""), "M010", "말모이.txt does not exist"),
        (ZeroDivisionError("division\nby zero"), "M099", "unexpected ZeroDivisionError: division by zero. next: "),
        (PermissionError(13, "Permission denied", "/x"), "M097", "Permission denied"),
    ],
)
def test_a_failing_verb(failure, code, words, api, malmoi_command):
    api.answers["doctor"] = failure
    ran = malmoi_command("doctor", "r")
    assert ran.status == 1 and ran.out == ""
    assert ran.err.startswith(f"malmoi: {code}: ") and words in ran.err and "Traceback" not in ran.err
    ran = malmoi_command("doctor", "r", "--json")
    assert json.loads(ran.out)["error"]["code"] == code
    ran = malmoi_command("doctor", "r", "--debug")
    assert ran.status == 1 and "Traceback" in ran.err and type(failure).__name__ in ran.err


def test_interrupt(api, malmoi_command):
    api.answers["doctor"] = KeyboardInterrupt()
    ran = malmoi_command("doctor", "r")
    assert ran.status == 130 and "interrupted" in ran.err and "Traceback" not in ran.err


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb, malmoi_command):
    ran = malmoi_command(verb, "--help")
    assert ran.status == 0 and f"Example: malmoi {verb}" in ran.out
    assert "--json" in ran.out and "--debug" in ran.out
    assert malmoi_command(verb, "-h").out == ran.out


def test_the_command_lists_every_verb(malmoi_command):
    ran = malmoi_command("--help")
    assert ran.status == 0 and malmoi_command().out == ran.out
    lines = [line.split()[0] for line in ran.out[ran.out.index("Commands:") :].splitlines()[1:] if line.strip()]
    assert lines[: len(VERBS)] == VERBS and "..." not in ran.out[ran.out.index("Commands:") :]


def test_version(malmoi_command):
    assert malmoi_command("--version").out.startswith("malmoi ")
