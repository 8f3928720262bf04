"""What clients of replicas may see: the judgements, which know no socket and no clock."""

import math
import re
from bisect import bisect_left

# The part of the clients that may come back in any 100 ms, and the number of clients below which
# chance adds to it: as many standard deviations of a Poisson distribution.
WINDOW, MOST_AT_ONCE, MANY, SIGMAS = 0.1, 0.1, 300, 3

# The longest time in seconds between a message and a Close that may have crossed it.
MOST_CROSSED = 0.1

# Errors to operators that concern no message.
GENERAL = r"the connection to the broker is lost|replica \S+ is gone;|conversation \d+ has ended$"


class Failed(Exception):
    """What clients have seen and must not."""


def check(what, is_so):
    if not is_so:
        raise Failed(what)


def check_spread(what, times):
    """Checks how clients come back. Returns the most of them in any 100 ms."""
    times = sorted(times)
    ends = (bisect_left(times, first + WINDOW) for first in times)
    most = max((end - start for start, end in enumerate(ends)), default=0)
    allowed = MOST_AT_ONCE * len(times)
    if len(times) < MANY:
        allowed += SIGMAS * math.sqrt(allowed)
    check(f"{what}: {most} of {len(times)} clients came back within 100 ms", most <= allowed)
    return most


def check_crossed(times):
    """Checks messages without a reply, by the seconds from the message to the Close. Returns the
    longest of these."""
    longest = max([0.0, *times])
    check(f"a message {longest:.3f} s before a Close has no reply", longest <= MOST_CROSSED)
    return longest


class Ledger:
    """Each message of chat, and its fate.

    A client's message is a text of its own, and so is each answer to it. Each answer is received at
    most once, in the conversation of its message, and not where a report to its operator says that
    it was not sent. A message has an answer, or its conversation has ended, or each of its answers
    has a report that names it."""

    def __init__(self):
        # The conversation of each message; the operator and the message of each answer.
        self.messages, self.answers = {}, {}
        self.received, self.reported = set(), {}
        # The messages of which an answer was received.
        self.answered = set()
        self.ended, self.gone = set(), set()
        self.wrong = []

    def client_says(self, conversation, text):
        self.messages[text] = conversation

    def operator_sees(self, seen, text):
        """A new message, for an operator that has `seen` others."""
        is_new = text not in seen and text not in self.answered
        self.check(f"{text} is shown as a new message once more", is_new)
        self.check(f"an operator has seen {text}, which nobody wrote", text in self.messages)

    def operator_answers(self, operator, text):
        """The text of an answer of its own."""
        answer = f"answer {len(self.answers)} to {text}"
        self.answers[answer] = operator, text
        return answer

    def client_gets(self, conversation, line):
        if line.startswith("*"):
            # Fewer messages wait than the server keeps.
            self.check(f"{conversation}: {line}", "discarded" not in line)
            return
        _, text = self.answers.get(line, (None, None))
        self.check(f"{line!r} reached {conversation}", self.messages.get(text) == conversation)
        self.check(f"{line!r} came twice", line not in self.received)
        self.received.add(line)
        self.answered.add(text)
        self.check_report(line)

    def operator_gets(self, operator, error):
        """An error that an operator gets."""
        answer = re.search(r"answer \d+ to \S+$", error)
        if answer is None:
            self.check(f"an error names no message: {error}", re.match(GENERAL, error))
            return
        answer = answer[0]
        owner, _ = self.answers.get(answer, (None, None))
        self.check(f"an error has a message of another operator: {error}", owner == operator)
        self.reported[answer] = error
        self.check_report(answer)

    def conversation_ends(self, conversation):
        self.ended.add(conversation)

    def operator_ends(self, operator):
        self.gone.add(operator)

    def owed(self):
        """The messages and answers in open conversations that have neither arrived nor a report."""
        open_messages = {text for text, at in self.messages.items() if at not in self.ended}
        settled = self.answered | {self.answers[answer][1] for answer in self.reported}
        lost = [
            answer for answer, (operator, text) in self.answers.items()
            if text in open_messages and operator not in self.gone
            and answer not in self.received and answer not in self.reported
        ]
        return sorted(open_messages - settled) + lost

    def check_all(self):
        owed = self.owed()
        check(f"messages of chat were lost: {owed[:5]}", not owed)
        check("\n  ".join(self.wrong[:5]), not self.wrong)

    def check_report(self, answer):
        error = self.reported.get(answer, "")
        is_false = answer in self.received and not error.startswith("not confirmed")
        self.check(f"received in spite of {error!r}", not (error and is_false))

    def check(self, what, is_so):
        if not is_so:
            self.wrong.append(what)

    def __str__(self):
        ended = sum(text not in self.answered and at in self.ended for text, at in self.messages.items())
        unconfirmed = sum(error.startswith("not confirmed") for error in self.reported.values())
        return (
            f"{len(self.messages)} messages, {len(self.answered)} of them with an answer, {ended} in "
            f"conversations that ended before; {len(self.answers)} answers, {len(self.received)} "
            f"received, {len(self.reported)} reported by name, {unconfirmed} of these as not confirmed"
        )
