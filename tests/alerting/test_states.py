"""When something is told: once it has lasted, once, again after a while, and when it is over."""

from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from balancer.alerting.measures import Finding
from balancer.alerting.messages import body
from balancer.alerting.states import MOST, States
from config.schema import AlertRule, Webhook

RULE = AlertRule(when="server_down", lasting=10.0)


def finding(subject: str = "p/a", met: bool = True) -> Finding:
    return Finding(subject, met, None, None, "", f"the server {subject} is <down>", "/api/x")


def told(states: States, now: float, *found: Finding, repeat: float = 100.0, silenced: bool = False) -> list[str]:
    return [one.status for one in states.note("down", RULE, found, now, repeat, silenced)]


def test_what_does_not_last_is_not_told():
    states = States()
    assert told(states, 0.0, finding()) == []
    assert told(states, 9.0, finding()) == []
    assert told(states, 9.5) == []
    assert told(states, 10.0, finding()) == []
    assert states.firing_now() == []


def test_what_lasts_is_told_once_again_after_a_while_and_when_it_is_over():
    states = States()
    assert told(states, 0.0, finding()) == []
    assert told(states, 10.0, finding()) == ["firing"]
    assert told(states, 60.0, finding()) == []
    assert told(states, 110.0, finding()) == ["firing"]
    assert told(states, 120.0, finding(met=False)) == ["resolved"]
    assert told(states, 130.0) == []


def test_a_restart_does_not_tell_again():
    states = States()
    told(states, 0.0, finding())
    told(states, 10.0, finding())
    kept = json.loads(json.dumps([asdict(alert) for alert in states.firing_now()]))
    again = States([*kept, {"nonsense": 1}, {**kept[0], "since": "x", "subject": "y"}])
    assert told(again, 20.0, finding()) == []
    assert told(again, 30.0) == ["resolved"]


def test_a_silenced_rule_tells_nothing_and_then_tells_what_still_is():
    states = States()
    told(states, 0.0, finding())
    assert told(states, 20.0, finding(), silenced=True) == []
    assert told(states, 30.0, finding()) == ["firing"]


def test_what_is_followed_is_bounded():
    states = States()
    told(states, 0.0, *(finding(f"p/{number}") for number in range(MOST + 50)))
    assert len(states.alerts) == MOST


@given(st.lists(st.booleans(), max_size=60))
def test_nothing_is_over_that_was_not_told_and_nothing_is_told_twice_in_a_row(met):
    states = States()
    statuses = [
        status for number, one in enumerate(met) for status in told(states, number * 4.0, finding(met=one), repeat=0.0)
    ]
    assert all(status == ("firing", "resolved")[number % 2] for number, status in enumerate(statuses))


def test_a_message_for_a_chat_has_no_marks_of_its_own_and_is_bounded():
    states = States()
    found = [finding(f"p/{number}") for number in range(30)]
    states.note("down", RULE, found, 0.0, 0.0, False)
    tell = states.note("down", RULE, found, 10.0, 0.0, False)
    content, fields = body(Webhook(url="http://h.example/", format="slack", secret="s"), tell, "lb-1", 10.0)
    document = json.loads(content)
    assert document["text"] == "lb-1: 30 alerts (and 10 more)"
    assert len(document["attachments"]) == 20
    assert "&lt;down&gt;" in document["attachments"][0]["text"]
    assert "X-Balancer-Signature" not in fields
