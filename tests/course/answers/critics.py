"""Chapter 4: critics: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
