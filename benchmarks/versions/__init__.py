"""New versions of models while requests flow: what is lost, what is answered by whom, how long it takes."""
