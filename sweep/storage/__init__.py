"""Results on disk and the MLflow view. The only room that imports pyarrow and mlflow."""
