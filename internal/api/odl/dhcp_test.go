// SPDX-License-Identifier: Apache-2.0

package odl

import (
	"fmt"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"nagare/internal/model"
	"nagare/internal/pipeline"
	"nagare/internal/punt"
)

// discover is a client's broadcast, as it comes up from a node.
func discover(t *testing.T, p *model.Port) punt.Packet {
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(p.MAC[:]), dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover))
	if err != nil {
		t.Fatal(err)
	}
	body := m.ToBytes()
	f := append([]byte{255, 255, 255, 255, 255, 255}, p.MAC[:]...)
	f = append(f, 8, 0, 0x45, 0, byte((28+len(body))>>8), byte(28+len(body)), 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255)
	sum := 0
	for i := 14; i < 34; i += 2 {
		sum += int(f[i])<<8 | int(f[i+1])
	}
	sum = ^(sum>>16 + sum&0xffff)
	f[24], f[25] = byte(sum>>8), byte(sum)
	f = append(f, 0, 68, 0, 67, byte((8+len(body))>>8), byte(8+len(body)), 0, 0)
	return punt.Packet{Node: p.Host, Kind: pipeline.PuntDHCP, Port: p.Key, Data: append(f, body...)}
}

// TestDHCP: section 3.5 and check S4. A port that networking-odl makes for a subnet is answered by us, everywhere; one that an agent
// holds on a node is not; without either there is no server.
func TestDHCP(t *testing.T) {
	w := cloud(t)
	w.do("POST", "/ports", portBody(portA, macA, "10.0.0.5", bound), 201)
	w.plug("compute", portA)
	server := func() string {
		t.Helper()
		p := w.port(portA)
		out := punt.Answer(w.st.Snapshot(), discover(t, &p))
		punted := len(w.flowsOf("compute", "table=20", fmt.Sprintf("reg1=%#x", uint32(p.Key)), "tp_src=68")) > 0
		if len(out) == 0 {
			if punted {
				return "asked in vain"
			}
			return "none"
		}
		m, err := dhcpv4.FromBytes(out[0][42:])
		if err != nil || !punted {
			t.Fatalf("answer %x, punted %v: %v", out, punted, err)
		}
		return m.ServerIdentifier().String()
	}
	holds := func(what, want string) {
		t.Helper()
		if got := server(); got != want {
			t.Errorf("%s: the server is %s, want %s", what, got, want)
		}
	}
	holds("no port", "none")
	odl := portOn(portB, netA, subA, macB, "10.0.0.2", "network:dhcp", "OpenDaylight-"+subA)
	w.do("POST", "/ports", odl, 201)
	holds("networking-odl's port", "10.0.0.2")
	if s := w.show("ports", portB)["status"]; s != "ACTIVE" {
		t.Errorf("its status is %v", s)
	}
	w.do("PUT", "/subnets/"+subA, `{"subnet":{"enable_dhcp":false}}`, 200)
	if got := server(); got != "none" && got != "asked in vain" {
		t.Errorf("S4: the server is %s", got)
	}
	w.do("PUT", "/subnets/"+subA, `{"subnet":{"enable_dhcp":true}}`, 200)
	holds("switched on again", "10.0.0.2")
	// An agent's port, on its node.
	agent := portOn(gwPort, netA, subA, "fa:16:3e:00:00:0c", "10.0.0.3", "network:dhcp", "dhcp"+unknown+"-"+netA)
	w.do("POST", "/ports", replaced(agent, `"binding:vif_type":"unbound"`, `"binding:vif_type":"ovs","binding:host_id":"controller"`), 201)
	w.plug("controller", gwPort)
	holds("an agent beside it", "none")
	w.do("DELETE", "/ports/"+portB, "", 204)
	holds("an agent", "none")
	w.wantFlows("an agent", true, "controller", "fa:16:3e:00:00:0c")
	w.do("PUT", "/ports/"+gwPort, replaced(agent, "dhcp"+unknown+"-"+netA, "reserved_dhcp_port"), 200)
	if got := server(); got != "none" && got != "asked in vain" {
		t.Errorf("a port between two agents: the server is %s", got)
	}
	w.do("DELETE", "/ports/"+gwPort, "", 204)
	holds("none again", "none")
}
