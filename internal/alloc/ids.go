// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"nagare/internal/model"
	"nagare/internal/store"
	"nagare/internal/tables"
)

// IDs gives new objects their ids. r is the transaction that creates the object. A zero MAC or segmentation id means that
// there is no preference: pass it on to Allocator.MAC and Allocator.VNI as the wanted value.
type IDs interface {
	Network(r store.Reader, name string) (id model.NetworkID, segmentationID uint32)
	Subnet(r store.Reader, name string) model.SubnetID
	Port(r store.Reader, network, deviceOwner, name string) (model.PortID, model.MAC)
}

// NewUUID returns a random UUID (RFC 9562 version 4) in text form.
func NewUUID() string { return uuid.NewString() }

// Random is the IDs of ordinary use: random UUIDs, no preferences.
type Random struct{}

func (Random) Network(store.Reader, string) (model.NetworkID, uint32) {
	return model.NetworkID(NewUUID()), 0
}
func (Random) Subnet(store.Reader, string) model.SubnetID { return model.SubnetID(NewUUID()) }
func (Random) Port(store.Reader, string, string, string) (model.PortID, model.MAC) {
	return model.PortID(NewUUID()), model.MAC{}
}

// Recorded is an IDs that replays ids of a recording by the objects' names, each as long as no object has it; everything else
// is random.
type Recorded struct {
	Networks []RecordedNetwork `yaml:"networks"`
	Subnets  []RecordedSubnet  `yaml:"subnets"`
	Ports    []RecordedPort    `yaml:"ports"`
}

// RecordedNetwork is a network of a recording. SegmentationID 0 means any.
type RecordedNetwork struct {
	Name           string          `yaml:"name"`
	ID             model.NetworkID `yaml:"id"`
	SegmentationID uint32          `yaml:"segmentation_id"`
}

// RecordedSubnet is a subnet of a recording.
type RecordedSubnet struct {
	Name string         `yaml:"name"`
	ID   model.SubnetID `yaml:"id"`
}

// RecordedPort is a port of a recording. Those of Name, DeviceOwner and Network (a network's name) that are not empty say
// which port it is.
type RecordedPort struct {
	Name        string       `yaml:"name"`
	DeviceOwner string       `yaml:"device_owner"`
	Network     string       `yaml:"network"`
	ID          model.PortID `yaml:"id"`
	MAC         model.MAC    `yaml:"mac"`
}

// LoadRecorded reads a recording from a YAML file and checks it.
func LoadRecorded(path string) (*Recorded, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("recorded ids: %w", err)
	}
	rec, err := ParseRecorded(b)
	if err != nil {
		return nil, fmt.Errorf("recorded ids %s: %w", path, err)
	}
	return rec, nil
}

// ParseRecorded reads a recording from YAML text and checks it. It reports all faults.
func ParseRecorded(text []byte) (*Recorded, error) {
	var rec Recorded
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&rec); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var faults []error
	seen := map[string]bool{}
	check := func(what string, i int, id string, named bool) {
		if u, err := uuid.Parse(id); err != nil || u.String() != id {
			faults = append(faults, fmt.Errorf("%s[%d]: id %q: want a lower-case UUID", what, i, id))
		} else if seen[id] {
			faults = append(faults, fmt.Errorf("%s[%d]: id %s: occurs twice", what, i, id))
		}
		seen[id] = true
		if !named {
			faults = append(faults, fmt.Errorf("%s[%d]: id %s: nothing says which object has it; give a name", what, i, id))
		}
	}
	for i, n := range rec.Networks {
		check("networks", i, string(n.ID), n.Name != "")
	}
	for i, s := range rec.Subnets {
		check("subnets", i, string(s.ID), s.Name != "")
	}
	for i, p := range rec.Ports {
		check("ports", i, string(p.ID), p.Name != "" || p.DeviceOwner != "")
		if p.MAC.IsMulticast() {
			faults = append(faults, fmt.Errorf("ports[%d]: mac %s: a port cannot own a multicast address", i, p.MAC))
		}
	}
	return &rec, errors.Join(faults...)
}

// Network implements IDs.
func (rec *Recorded) Network(r store.Reader, name string) (model.NetworkID, uint32) {
	for _, n := range rec.Networks {
		if _, used := tables.Networks.Get(r, n.ID); n.Name == name && !used {
			return n.ID, n.SegmentationID
		}
	}
	return Random{}.Network(r, name)
}

// Subnet implements IDs.
func (rec *Recorded) Subnet(r store.Reader, name string) model.SubnetID {
	for _, s := range rec.Subnets {
		if _, used := tables.Subnets.Get(r, s.ID); s.Name == name && !used {
			return s.ID
		}
	}
	return Random{}.Subnet(r, name)
}

// Port implements IDs.
func (rec *Recorded) Port(r store.Reader, network, deviceOwner, name string) (model.PortID, model.MAC) {
	matches := func(want, got string) bool { return want == "" || want == got }
	for _, p := range rec.Ports {
		if !matches(p.Name, name) || !matches(p.DeviceOwner, deviceOwner) || !matches(p.Network, network) {
			continue
		}
		if _, used := tables.Ports.Get(r, p.ID); !used {
			return p.ID, p.MAC
		}
	}
	return Random{}.Port(r, network, deviceOwner, name)
}
