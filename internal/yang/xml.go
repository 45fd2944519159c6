// SPDX-License-Identifier: Apache-2.0

package yang

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// Limits of a document: how deep elements may stand, and how many there may be.
const (
	maxXMLDepth    = 64
	maxXMLElements = 1 << 20
)

// XMLName gives the name of a document's outermost element as JSON would have it: "module:name", or the plain name without a namespace.
func (s *Schema) XMLName(r io.Reader) (string, error) {
	x := &xmlReader{schema: s, dec: xml.NewDecoder(r)}
	start, err := x.start()
	if err != nil || start.Name.Space == "" {
		return start.Name.Local, err
	}
	m, ok := s.bySpace[start.Name.Space]
	if !ok {
		return "", fault(TagUnknown, "/"+clip(start.Name.Local), "no module has namespace %q", clip(start.Name.Space))
	}
	return m.Name + ":" + start.Name.Local, nil
}

// ReadXML reads a document and fills in the instance with what its outermost element holds, whatever that is called. Document types and processing instructions are refused; there are no entities but XML's five.
func (s *Schema) ReadXML(d *Data, r io.Reader) error {
	x := &xmlReader{schema: s, dec: xml.NewDecoder(r)}
	start, err := x.start()
	if err != nil {
		return err
	}
	if err := x.element(d, start); err != nil {
		return err
	}
	switch extra, err := x.token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		if text, ok := extra.(xml.CharData); ok && strings.TrimSpace(string(text)) == "" {
			return nil
		}
	}
	return fault(TagMalformed, "", "the document goes on after its element")
}

type xmlReader struct {
	schema   *Schema
	dec      *xml.Decoder
	scopes   []map[string]string // prefix to namespace, innermost last
	elements int
}

// token gives the next token that means something.
func (x *xmlReader) token() (xml.Token, error) {
	for {
		t, err := x.dec.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, err
			}
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) {
				return nil, fault(TagMalformed, "", "the XML is broken in line %d: %s", syntax.Line, syntax.Msg)
			}
			return nil, err // of the reader: too long, cut off
		}
		switch t := t.(type) {
		case xml.Comment:
		case xml.Directive:
			return nil, fault(TagMalformed, "", "document types are not accepted")
		case xml.ProcInst:
			if t.Target != "xml" {
				return nil, fault(TagMalformed, "", "processing instructions are not accepted")
			}
		default:
			return t, nil
		}
	}
}

func (x *xmlReader) start() (xml.StartElement, error) {
	for {
		t, err := x.token()
		if errors.Is(err, io.EOF) {
			return xml.StartElement{}, fault(TagMalformed, "", "the document is empty")
		}
		if err != nil {
			return xml.StartElement{}, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return t, nil
		case xml.CharData:
			if strings.TrimSpace(string(t)) != "" {
				return xml.StartElement{}, fault(TagMalformed, "", "the document begins with text")
			}
		}
	}
}

// element reads what is inside an element into d, up to its end.
func (x *xmlReader) element(d *Data, start xml.StartElement) error {
	if x.elements++; x.elements > maxXMLElements || len(x.scopes) >= maxXMLDepth {
		return fault(TagMalformed, d.Path(), "the document is too deep or has too many elements")
	}
	scope := map[string]string{}
	for _, a := range start.Attr {
		switch {
		case a.Name.Space == "xmlns":
			scope[a.Name.Local] = a.Value
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			scope[""] = a.Value
		}
	}
	x.scopes = append(x.scopes, scope)
	defer func() { x.scopes = x.scopes[:len(x.scopes)-1] }()
	var text strings.Builder
	seen := map[*Node]bool{}
	for {
		t, err := x.token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fault(TagMalformed, d.Path(), "the document ends too early")
			}
			return err
		}
		switch t := t.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if d.Node.Type != nil {
				value, err := d.Node.Type.Parse(text.String(), x.names)
				if err != nil {
					return fault(TagInvalid, d.Path(), "%v", err)
				}
				d.Value = value
				return nil
			}
			if strings.TrimSpace(text.String()) != "" {
				return fault(TagMalformed, d.Path(), "there is text where elements are wanted")
			}
			d.arrange()
			return nil
		case xml.StartElement:
			if err := x.child(d, t, seen); err != nil {
				return err
			}
		}
	}
}

func (x *xmlReader) child(d *Data, start xml.StartElement, seen map[*Node]bool) error {
	n := d.Node.inSpace(start.Name)
	if n == nil {
		return fault(TagUnknown, d.Path()+"/"+clip(start.Name.Local), "there is no such node in namespace %q", clip(start.Name.Space))
	}
	if seen[n] && (n.Kind == Container || n.Kind == Leaf) {
		return fault(TagMalformed, d.Path()+"/"+n.JSONName(), "the node is there twice")
	}
	seen[n] = true
	return x.element(d.Add(n, ""), start)
}

// inSpace finds a child by an element's name. Elements without a namespace are their parent's module's.
func (n *Node) inSpace(name xml.Name) *Node {
	for _, c := range n.byName[name.Local] {
		if name.Space == c.Module.Namespace || name.Space == "" && c.Module == n.Module {
			return c
		}
	}
	return nil
}

// names reads a prefix of a value by the namespaces in scope.
func (x *xmlReader) names(prefix string) (*Module, bool) {
	for i := len(x.scopes) - 1; i >= 0; i-- {
		if space, ok := x.scopes[i][prefix]; ok {
			m, ok := x.schema.bySpace[space]
			return m, ok
		}
	}
	return nil, false
}

// AppendXML writes an instance as an element. Its namespace is declared where it differs from the one around.
func (d *Data) AppendXML(b []byte, around *Module) []byte {
	b = append(b, '<')
	b = append(b, d.Node.Name...)
	if d.Node.Module != around {
		b = appendSpace(b, "xmlns", d.Node.Module)
	}
	value := d.Value
	if d.Node.Type != nil {
		if m, local, ok := d.Node.Type.identityIn(value); ok {
			b = appendSpace(b, "xmlns:x", m)
			value = "x:" + local
		}
		if t := d.Node.Type.resolve(); t.Base == InstanceID {
			var modules []*Module
			value, modules = t.inXML(value)
			for _, m := range modules {
				b = appendSpace(b, "xmlns:"+m.Name, m)
			}
		}
	}
	b = append(b, '>')
	if d.Node.Type != nil {
		b = appendEscaped(b, value)
	}
	for _, c := range d.Children {
		b = c.AppendXML(b, d.Node.Module)
	}
	b = append(b, "</"...)
	b = append(b, d.Node.Name...)
	return append(b, '>')
}

func appendSpace(b []byte, attr string, m *Module) []byte {
	b = append(b, ' ')
	b = append(b, attr...)
	b = append(b, `="`...)
	b = appendEscaped(b, m.Namespace)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var out strings.Builder
	xml.EscapeText(&out, []byte(s)) //nolint:errcheck // a Builder takes everything
	return append(b, out.String()...)
}

// identityIn cuts a value that is the name of an identity, also as member of a union.
func (t *Type) identityIn(value string) (m *Module, local string, ok bool) {
	t = t.resolve()
	if t.Base == Union {
		for _, member := range t.members {
			if got, err := member.Parse(value, t.schema.ModuleNames); err == nil && got == value {
				return member.identityIn(value)
			}
		}
	}
	if t.Base != IdentityRef {
		return nil, "", false
	}
	module, local, _ := strings.Cut(value, ":")
	m, ok = t.schema.Module(module)
	return m, local, ok
}
