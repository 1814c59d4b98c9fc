"""Raw material to instances: readers, formats, tasks, templates, chats, synthetic rounds.

Import from the modules (``regimen.instances.formats``), not from here: this package loads nothing
by itself.
"""
