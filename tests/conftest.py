"""What holds for every test."""

from __future__ import annotations

import signal

# A shell that runs us in the background, or under nohup, lets us ignore these; the programs that tests start would inherit
# that and could not be interrupted, which many tests are about.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
