"""Settling: which questions the records answer, and which cases to measure next."""

from bench.analysis.settle.choice import Board, Round, choose, remaining_s
from bench.analysis.settle.question import Answer, Obstacle, Question, answer
from bench.analysis.settle.seconds import round_seconds, start_seconds

__all__ = [
    "Answer",
    "Board",
    "Obstacle",
    "Question",
    "Round",
    "answer",
    "choose",
    "remaining_s",
    "round_seconds",
    "start_seconds",
]
