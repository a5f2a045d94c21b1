from setuptools import setup

setup()  # noqa: E702, I001  (everything stands in pyproject.toml)
