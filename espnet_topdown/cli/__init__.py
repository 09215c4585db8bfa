"""What stands behind `espnet-topdown VERB`."""
