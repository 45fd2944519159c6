// SPDX-License-Identifier: Apache-2.0

package lab

// recordedIDs makes the server hand out the ids, MACs and the VNI that the
// recorded walk-through shows, so that this run's output can be laid beside it.
const recordedIDs = `# Ids that the recorded walk-through shows. The server hands each out once, to
# the first object of that kind and name.
networks:
  - {name: net01, id: f8209267-5cf1-4073-9af5-bbbf7fe500cd, segmentation_id: 1077}
subnets:
  - {name: net01-subnet, id: 8d373fbd-6134-47d1-aff6-86ee1ae7c8d1}
ports:
  - {device_owner: "network:dhcp", network: net01, id: 178a8b99-700f-4d2f-be35-f34d420f66a3, mac: "fa:16:3e:ef:85:07"}
  - {device_owner: "network:router_interface", network: net01, id: f72c630e-7389-4b91-bbda-5c27e768ad7b, mac: "fa:16:3e:bb:4f:57"}
  - {name: vm01, id: 7adff632-ccf9-4d43-8f5d-7db454313f44, mac: "fa:16:3e:9e:f5:70"}
  - {name: vm02, id: 2756a09c-125a-4fe8-9a26-2bde05857062, mac: "fa:16:3e:53:88:56"}
`

// rowUUID is the uuid of a node's Open_vSwitch row in the recording, or "".
func rowUUID(ids, node string) string {
	if ids != idsRecorded {
		return ""
	}
	return map[string]string{
		firstNode: "43cbe79e-8e51-4a5a-8638-03df224ad777",
		"compute": "00790da7-431d-430c-b638-9114e2f17552",
	}[node]
}
