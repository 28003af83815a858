"""What terminals and cards say: byte layouts, messages, codes and states, without any I/O."""
