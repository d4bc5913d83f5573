import subprocess
import sys


def test_the_laboratory_loads_nothing_that_draws_or_prints():
    program = (
        "import sys, pgzoo.lab, pgzoo.lab.report, pgzoo.lab.studies\n"
        "print(*({'matplotlib', 'rich', 'click', 'tensorboard'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.stdout.strip(), found.returncode) == ("", 0), found.stderr
