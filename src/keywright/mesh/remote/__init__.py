"""Remote provisioning: a node carries provisioning PDUs to a device that is out of the provisioner's reach."""
