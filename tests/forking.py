"""A process that opens the twin without `await` and forks: python -m tests.forking DATABASE_URL.

Prints what the child met and what the parent met after it. Threads of the parent are at work all the time.
"""

import gc
import os
import sys
import threading

from tallystick import Plan
from tallystick.service import NotOpen
from tallystick.sync import SyncTallystick


def main(url: str) -> None:
    credits = SyncTallystick(url, plans=[Plan("free", 25)])
    credits.open()
    credits.open_account("a")
    over = threading.Event()
    threads = [threading.Thread(target=_ask, args=(credits, over)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round in range(3):
        child = os.fork()
        if not child:
            _in_child(credits, round)
            # Not os._exit: what a worker leaves behind in the end is the parent's, too.
            sys.exit()
        print("child ended with", os.waitpid(child, 0)[1], flush=True)
        print("parent has", credits.spend("a", 1, key=f"parent-{round}").available, flush=True)
    over.set()
    for thread in threads:
        thread.join()
    credits.close()
    print("parent closed")


def _ask(credits: SyncTallystick, over: threading.Event) -> None:
    while not over.wait(0.001):
        credits.open_account("b")


def _in_child(credits: SyncTallystick, round: int) -> None:
    try:
        credits.spend("a", 1, key="child")
    except NotOpen as error:
        print("child got", error.code, flush=True)
    credits.close()
    if round == 1:
        del credits
        gc.collect()
    if round == 2:
        with credits:
            print("child has", credits.spend("a", 1, key="child").available, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
