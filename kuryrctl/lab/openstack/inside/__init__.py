"""Programs that run inside the virtual environment of the OpenStack services, by path, each as a process of its own.

That environment does not contain kuryrctl: nothing here may import it, and kuryrctl imports nothing from here.
"""
