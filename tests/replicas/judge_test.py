#!/usr/bin/env python3
"""Each judgement of `run` fails for a result that was manipulated."""

import unittest

from judge import Failed, Ledger, check_crossed, check_spread


class Spread(unittest.TestCase):
    def test_clients_that_come_back_evenly_pass_and_a_crowd_among_them_fails(self):
        even = [number * 0.002 for number in range(800)]
        self.assertLess(check_spread("", even), 55)
        with self.assertRaises(Failed):
            check_spread("", even + [0.75] * 60)

    def test_a_few_clients_fail_at_once_only(self):
        even = [number * 0.016 for number in range(90)]
        check_spread("", even)
        for last in (0.0, 0.3):
            with self.assertRaises(Failed):
                check_spread("", [number / 90 * last for number in range(90)])


class Crossed(unittest.TestCase):
    def test_a_message_long_before_a_close_fails(self):
        check_crossed([-0.004, 0.02])
        with self.assertRaises(Failed):
            check_crossed([0.02, 0.12])


class Chat(unittest.TestCase):
    def setUp(self):
        self.ledger = Ledger()
        for client in "ab":
            self.ledger.client_says(client, f"{client}.1")
        self.answers = [self.ledger.operator_answers(1, f"{it}.1") for it in "ab"]
        self.ledger.client_gets("b", self.answers[1])

    def receive(self, conversation="a"):
        self.ledger.client_gets(conversation, self.answers[0])

    def report(self, kind, operator=1):
        self.ledger.operator_gets(operator, f"{kind} to client 7 (why): {self.answers[0]}")

    def fails(self):
        with self.assertRaises(Failed):
            self.ledger.check_all()

    def test_an_answer_that_arrives_passes_and_none_fails(self):
        self.fails()
        self.receive()
        self.ledger.check_all()

    def test_an_answer_that_comes_twice_fails(self):
        self.receive()
        self.receive()
        self.fails()

    def test_an_answer_in_another_conversation_fails(self):
        self.receive("b")
        self.fails()

    def test_a_report_that_names_the_answer_passes_and_one_of_another_message_does_not(self):
        self.ledger.operator_gets(1, f"not sent to client 8 (why): {self.answers[1]}")
        self.fails()
        self.setUp()
        self.report("not confirmed")
        self.receive()
        self.ledger.check_all()

    def test_a_report_without_a_message_fails(self):
        self.receive()
        self.ledger.operator_gets(1, "not sent to client 7 (why)")
        self.fails()

    def test_a_report_to_another_operator_fails(self):
        self.report("not sent", operator=2)
        self.fails()

    def test_an_answer_that_was_reported_as_not_sent_and_arrives_fails(self):
        self.report("not sent")
        self.ledger.check_all()
        self.receive()
        self.fails()

    def test_a_message_without_an_answer_fails_unless_its_conversation_ends(self):
        self.receive()
        self.ledger.client_says("a", "a.2")
        self.fails()
        self.ledger.conversation_ends("a")
        self.ledger.check_all()

    def test_a_second_answer_that_is_lost_fails_unless_its_operator_is_gone(self):
        self.receive()
        self.ledger.operator_answers(2, "a.1")
        self.fails()
        self.ledger.operator_ends(2)
        self.ledger.check_all()

    def test_a_message_that_is_shown_again_or_that_nobody_wrote_fails(self):
        for seen, text in [({"a.1"}, "a.1"), (set(), "b.1"), (set(), "a.9")]:
            self.setUp()
            self.receive()
            self.ledger.operator_sees(seen, text)
            self.fails()

    def test_a_message_that_is_discarded_fails(self):
        self.receive()
        self.ledger.client_gets("a", "* too many messages are queued; this one was discarded")
        self.fails()


if __name__ == "__main__":
    unittest.main()
