"""A document as a phone application exports it: written by hand, with fields that this program does not know."""

from __future__ import annotations

EXPORT = """{
  "$schema": "http://json-schema.org/draft-04/schema#",
  "id": "http://www.bluetooth.com/specifications/assigned-numbers/meshprofile/cdb-schema.json#",
  "version": "1.0.1",
  "meshUUID": "0B7B2F9A-5D0E-4C11-9B5C-6C0F6B0F1A22",
  "meshName": "Hall 3 \u2014 R\u00fcckwand",
  "timestamp": "2026-03-04T05:06:07Z",
  "partial": false,
  "x-vendor": {"theme": "dark", "ratio": 1.5, "empty": [], "none": null},
  "netKeys": [
    {"name": "Primary", "index": 0, "key": "7DD7364CD842AD18C17C2B820C84C3D6", "phase": 0,
     "minSecurity": "insecure", "timestamp": "2026-03-04T05:06:07Z", "x-colour": "red"},
    {"name": "Guests", "index": 4095, "key": "F7A2A44F8E8A8029064F173DDC1E2B00", "phase": 1,
     "oldKey": "11223344556677889900AABBCCDDEEFF", "minSecurity": "secure", "timestamp": "2026-03-04T05:06:07Z"}
  ],
  "appKeys": [
    {"name": "Light", "index": 0, "boundNetKey": 0, "key": "63964771734FBD76E3B40519D1D94A48"}
  ],
  "provisioners": [
    {"provisionerName": "Phone", "UUID": "6A0E2B9C-3D1F-4B7A-8E55-0D6C1B2A3F44",
     "allocatedUnicastRange": [{"lowAddress": "0001", "highAddress": "00FF"},
                               {"lowAddress": "0200", "highAddress": "0203"}],
     "allocatedGroupRange": [{"lowAddress": "C000", "highAddress": "CC9A"}],
     "allocatedSceneRange": [{"firstScene": "0001", "lastScene": "3333"}]}
  ],
  "nodes": [
    {"UUID": "6A0E2B9C-3D1F-4B7A-8E55-0D6C1B2A3F44", "name": "Phone", "deviceKey": "00112233445566778899AABBCCDDEEFF",
     "unicastAddress": "0001", "security": "secure", "configComplete": true, "cid": "004C", "pid": "0000",
     "vid": "0000", "crpl": "7FFF", "features": {"relay": 2, "proxy": 2, "friend": 2, "lowPower": 2},
     "defaultTTL": 5, "netKeys": [{"index": 0, "updated": false}], "appKeys": [{"index": 0, "updated": false}],
     "elements": [{"index": 0, "location": "0000", "name": "Primary Element",
                   "models": [{"modelId": "0001", "subscribe": [], "bind": []}]}],
     "excluded": false},
    {"UUID": "70CF7C9732A345B691494810D2E9CBF4", "name": "Lamp", "deviceKey": "9D6DD0E96EB25DC19A40ED9914F8F03F",
     "unicastAddress": "0003", "security": "insecure", "configComplete": true, "cid": "0059", "pid": "0001",
     "vid": "0001", "crpl": "0028", "features": {"relay": 1, "proxy": 1, "friend": 0, "lowPower": 2},
     "secureNetworkBeacon": true, "defaultTTL": 7, "networkTransmit": {"count": 3, "interval": 20},
     "relayRetransmit": {"count": 3, "interval": 20},
     "netKeys": [{"index": 0, "updated": false}], "appKeys": [{"index": 0, "updated": false}],
     "elements": [
       {"index": 0, "location": "0100", "name": "Left",
        "models": [{"modelId": "0000", "subscribe": [], "bind": []},
                   {"modelId": "1000", "subscribe": ["C000", "0073E7E4D8B9440FAF8415DF4C56C0E1"], "bind": [0],
                    "publish": {"address": "C000", "index": 0, "ttl": 5,
                                "period": {"numberOfSteps": 0, "resolution": 100},
                                "credentials": 0,
                                "retransmit": {"count": 0, "interval": 50}}}]},
       {"index": 1, "location": "0101", "models": [{"modelId": "00590001", "subscribe": [], "bind": []}]}],
     "excluded": false, "heartbeatSub": {"source": "0001", "destination": "C000", "period": 64},
     "x-note": "third from the left"}
  ],
  "groups": [{"name": "All lamps", "address": "C000", "parentAddress": "0000"}],
  "scenes": [{"name": "Night", "number": "0001", "addresses": ["0003"]}],
  "networkExclusions": [{"ivIndex": 0, "addresses": ["0005", "0006"]}]
}
"""
