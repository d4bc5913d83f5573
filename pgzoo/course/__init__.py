"""The course's exercises: is this right, and if not, which mistake is it?

    course.check("leave_one_out", leave_one_out)

What ``__init__.pyi`` names is loaded when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
