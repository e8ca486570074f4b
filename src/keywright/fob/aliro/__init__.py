"""The Aliro user device as an applet on the fob's element: its applet, and how a line personalises it."""
