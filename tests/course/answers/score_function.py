"""Chapter 2: the log-derivative trick: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
