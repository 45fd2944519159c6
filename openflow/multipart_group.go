// SPDX-License-Identifier: Apache-2.0

package openflow

// GroupDesc is a group as the switch holds it.
type GroupDesc struct {
	Type    uint8
	ID      uint32
	Buckets []Bucket
}

// Append appends the entry as in a reply.
func (g *GroupDesc) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, g.Type, 0)
	dst = be.AppendUint32(dst, g.ID)
	for i := range g.Buckets {
		dst = g.Buckets[i].append(dst)
	}
	be.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst
}

// DecodeGroupDescs reads the body of a MPGroupDesc reply.
func DecodeGroupDescs(b []byte) ([]GroupDesc, error) {
	const w = "group desc"
	r := &reader{b: b}
	var out []GroupDesc
	for r.left() > 0 {
		e := r.sub(int(r.u16(w)), 2, w)
		g := GroupDesc{Type: e.u8(w)}
		e.skip(1, w)
		g.ID = e.u32(w)
		g.Buckets = decodeBuckets(e)
		if e.err != nil {
			return nil, e.err
		}
		out = append(out, g)
	}
	return out, r.err
}

// BucketStats counts one bucket.
type BucketStats struct{ Packets, Bytes uint64 }

// GroupStats are the counters of a group.
type GroupStats struct {
	ID, RefCount            uint32
	Packets, Bytes          uint64
	DurationSec, DurationNs uint32
	Buckets                 []BucketStats
}

func (g *GroupStats) Append(dst []byte) []byte {
	start := len(dst)
	dst = be.AppendUint32(zeros(dst, 4), g.ID)
	dst = zeros(be.AppendUint32(dst, g.RefCount), 4)
	dst = be.AppendUint64(be.AppendUint64(dst, g.Packets), g.Bytes)
	dst = be.AppendUint32(be.AppendUint32(dst, g.DurationSec), g.DurationNs)
	for _, b := range g.Buckets {
		dst = be.AppendUint64(be.AppendUint64(dst, b.Packets), b.Bytes)
	}
	be.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst
}

// DecodeGroupStats reads the body of a MPGroup reply.
func DecodeGroupStats(b []byte) ([]GroupStats, error) {
	const w = "group stats"
	r := &reader{b: b}
	var out []GroupStats
	for r.left() > 0 {
		e := r.sub(int(r.u16(w)), 2, w)
		e.skip(2, w)
		g := GroupStats{ID: e.u32(w), RefCount: e.u32(w)}
		e.skip(4, w)
		g.Packets, g.Bytes, g.DurationSec, g.DurationNs = e.u64(w), e.u64(w), e.u32(w), e.u32(w)
		for e.left() > 0 {
			g.Buckets = append(g.Buckets, BucketStats{e.u64(w), e.u64(w)})
		}
		if e.err != nil {
			return nil, e.err
		}
		out = append(out, g)
	}
	return out, r.err
}

// GroupFeatures tells which groups the switch can hold; the arrays are indexed
// by group type.
type GroupFeatures struct {
	Types, Capabilities uint32
	MaxGroups, Actions  [4]uint32
}

func (g *GroupFeatures) Append(dst []byte) []byte {
	dst = be.AppendUint32(be.AppendUint32(dst, g.Types), g.Capabilities)
	for _, a := range [][4]uint32{g.MaxGroups, g.Actions} {
		for _, v := range a {
			dst = be.AppendUint32(dst, v)
		}
	}
	return dst
}

func DecodeGroupFeatures(b []byte) (g GroupFeatures, err error) {
	const w = "group features"
	r := &reader{b: b}
	g.Types, g.Capabilities = r.u32(w), r.u32(w)
	for _, a := range []*[4]uint32{&g.MaxGroups, &g.Actions} {
		for i := range a {
			a[i] = r.u32(w)
		}
	}
	return g, r.err
}

// MeterConfig is a meter as the switch holds it.
type MeterConfig struct {
	Flags uint16
	ID    uint32
	Bands []Band
}

func (m *MeterConfig) Append(dst []byte) []byte {
	start := len(dst)
	dst = be.AppendUint16(append(dst, 0, 0), m.Flags)
	dst = appendBands(be.AppendUint32(dst, m.ID), m.Bands)
	be.PutUint16(dst[start:], uint16(len(dst)-start))
	return dst
}

// DecodeMeterConfigs reads the body of a MPMeterConfig reply.
func DecodeMeterConfigs(b []byte) ([]MeterConfig, error) {
	const w = "meter config"
	r := &reader{b: b}
	var out []MeterConfig
	for r.left() > 0 {
		e := r.sub(int(r.u16(w)), 2, w)
		m := MeterConfig{Flags: e.u16(w), ID: e.u32(w)}
		m.Bands = decodeBands(e)
		if e.err != nil {
			return nil, e.err
		}
		out = append(out, m)
	}
	return out, r.err
}

// MeterStatistics are the counters of a meter; Bands counts what each band hit.
type MeterStatistics struct {
	ID, Flows               uint32
	PacketsIn, BytesIn      uint64
	DurationSec, DurationNs uint32
	Bands                   []BucketStats
}

func (m *MeterStatistics) Append(dst []byte) []byte {
	dst = be.AppendUint32(dst, m.ID)
	dst = zeros(be.AppendUint16(dst, uint16(40+16*len(m.Bands))), 6)
	dst = be.AppendUint32(dst, m.Flows)
	dst = be.AppendUint64(be.AppendUint64(dst, m.PacketsIn), m.BytesIn)
	dst = be.AppendUint32(be.AppendUint32(dst, m.DurationSec), m.DurationNs)
	for _, b := range m.Bands {
		dst = be.AppendUint64(be.AppendUint64(dst, b.Packets), b.Bytes)
	}
	return dst
}

// DecodeMeterStatistics reads the body of a MPMeter reply.
func DecodeMeterStatistics(b []byte) ([]MeterStatistics, error) {
	const w = "meter stats"
	r := &reader{b: b}
	var out []MeterStatistics
	for r.left() > 0 {
		m := MeterStatistics{ID: r.u32(w)}
		e := r.sub(int(r.u16(w)), 6, w)
		e.skip(6, w)
		m.Flows, m.PacketsIn, m.BytesIn = e.u32(w), e.u64(w), e.u64(w)
		m.DurationSec, m.DurationNs = e.u32(w), e.u32(w)
		for e.left() > 0 {
			m.Bands = append(m.Bands, BucketStats{e.u64(w), e.u64(w)})
		}
		if e.err != nil {
			return nil, e.err
		}
		out = append(out, m)
	}
	return out, r.err
}

// MeterFeatures tells what meters the switch can do.
type MeterFeatures struct {
	MaxMeter, BandTypes, Capabilities uint32
	MaxBands, MaxColor                uint8
}

func (m *MeterFeatures) Append(dst []byte) []byte {
	dst = be.AppendUint32(be.AppendUint32(be.AppendUint32(dst, m.MaxMeter), m.BandTypes), m.Capabilities)
	return append(dst, m.MaxBands, m.MaxColor, 0, 0)
}

func DecodeMeterFeatures(b []byte) (MeterFeatures, error) {
	const w = "meter features"
	r := &reader{b: b}
	m := MeterFeatures{r.u32(w), r.u32(w), r.u32(w), r.u8(w), r.u8(w)}
	return m, r.err
}
