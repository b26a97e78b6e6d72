"""Drives a daemon with python-varlink: client.py ADDRESS"""

import sys

import varlink


def main(address):
    with varlink.Client(address) as client, client.open("org.varlink.service") as service:
        info = service.GetInfo()
        assert info["interfaces"] == ["org.varlink.service", "org.ostler"], info
    # It reads the description of the interface, and checks each call against it.
    with varlink.Client(address) as client, client.open("org.ostler") as ostler, client.open(
        "org.ostler"
    ) as watcher:
        events = watcher.Events(_more=True)
        first = next(events)
        assert first["events"] == [], first
        task = {
            "name": "web",
            "command": "/bin/sh",
            "args": ["-c", "exit 5"],
            "env": ["A=1"],
            "stdout": {"kind": "discard"},
            "restart": {"mode": "never", "attempts": 0},
            "labels": {"tier": "front"},
        }
        status = ostler.Launch(task)["status"]
        assert status["name"] == "web", status
        status = ostler.Wait("web", status["id"])["status"]
        assert status["exit"]["exit_code"] == 5, status
        listed = ostler.List({"tier": "front"}, ["exited"])
        assert [entry["name"] for entry in listed["tasks"]] == ["web"], listed
        inspected = ostler.Inspect("web")["status"]["task"]
        assert inspected["args"] == task["args"], inspected

        kinds = []
        while "finished" not in kinds:
            kinds += [event["kind"] for event in next(events)["events"]]
        assert kinds == ["launched", "started", "exited", "finished"], kinds

        try:
            ostler.Inspect("nobody")
        except varlink.VarlinkError as error:
            assert error.error() == "org.ostler.NoSuchTask", error
            assert error.parameters()["name"] == "nobody", error
        else:
            raise AssertionError("a task that does not exist was found")
        ostler.Remove("web")
    print("all is well")


main(sys.argv[1])
