"""The campaign: command lines and damaged files, made at random, that must do no harm.

``python -m tests.fuzz`` runs it; ``lines`` makes command lines of the real options, ``files``
damages run folders and reads them, ``effects`` changes an option and looks for a difference. Every
case is a function of the campaign's seed and its own number.
"""
