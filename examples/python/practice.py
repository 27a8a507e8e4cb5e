"""Records a practice session, shows the progress whenever it changes, and syncs.

    MAREA_DIR=/tmp/ada MAREA_URL=... MAREA_KEY=... MAREA_TOKEN=... python3 practice.py 12
"""

import os
import queue
import sys

import marea

given = {
    "dir": os.environ.get("MAREA_DIR"),
    "url": os.environ.get("MAREA_URL"),
    "publishable_key": os.environ.get("MAREA_KEY"),
    "access_token": os.environ.get("MAREA_TOKEN"),
    "user_id": os.environ.get("MAREA_USER"),
}
config = {name: value for name, value in given.items() if value}

try:
    with marea.Client(background_sync=False, **config) as client:
        shown = queue.Queue()
        client.watch_progress(shown.put)
        print("before:", shown.get(timeout=60)["total_sessions"])
        minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 10
        recorded = client.record_session(session_type="qa", duration_minutes=minutes)
        print("recorded:", recorded["id"])
        print("after:", shown.get(timeout=60)["total_sessions"])
        if "url" in config:
            report = client.sync()
            print("synced:", report["outcome"], report["pushed"])
except marea.Error as error:
    sys.exit(str(error))
