"""Key ceremonies: several named persons create, load, export, back up, restore or destroy one master key together."""
