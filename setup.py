__import__("setuptools").setup()  # everything stands in pyproject.toml
