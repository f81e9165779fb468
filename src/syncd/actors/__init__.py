"""Live: tasks that find their work in State, call core and act."""
