"""SCP80: over-the-air packets (ETSI TS 102 225, TS 102 226, 3GPP TS 31.115), sending and receiving entity."""
