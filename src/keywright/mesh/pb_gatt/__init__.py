"""PB-GATT and the Mesh Proxy Service: messages over one GATT connection, cut into Proxy PDUs (MshPRT 5.2.2, 6, 7)."""
