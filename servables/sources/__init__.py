"""Where versions of models come from: a folder, a URL, an MLflow registry."""
