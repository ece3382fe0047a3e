// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// protobufMagic begins what the API server encodes in protobuf. The rest is a
// runtime.Unknown, whose raw field has the object.
const protobufMagic = "k8s\x00"

// Numbers of fields: of runtime.Unknown, and of the lists of all built-in kinds.
const (
	fieldTypeMeta = 1
	fieldRaw      = 2
	fieldListMeta = 1
	fieldItems    = 2
)

// Numbers of fields of every object, and of its metadata.
const (
	fieldObjectMeta    = 1
	fieldManagedFields = 17
)

// longestField bounds what is read into memory at once, in bytes. etcd takes objects of
// a few megabytes.
const longestField = 64 << 20

// unmarshaler is what the types of built-in kinds are.
type unmarshaler interface{ Unmarshal([]byte) error }

func isProtobuf(in *bufio.Reader) bool {
	magic, err := in.Peek(len(protobufMagic))
	return err == nil && string(magic) == protobufMagic
}

// readProtobuf reads a list object by object, as they arrive, and gives each to take.
func readProtobuf[T runtime.Object](in *bufio.Reader, empty func() T, take func(T)) (meta metav1.ListMeta, err error) {
	if _, err := in.Discard(len(protobufMagic)); err != nil {
		return meta, err
	}
	var kind runtime.TypeMeta
	var memory scratch
	complete := false
	for envelope := (message{in: in, left: math.MaxInt64}); ; {
		number, field, err := envelope.next()
		switch {
		case errors.Is(err, io.EOF) && !complete:
			err = io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return meta, nil
		case err != nil:
		case number == fieldTypeMeta:
			err = memory.read(&field, &kind)
		case number != fieldRaw:
			err = field.skip()
		case !strings.HasSuffix(kind.Kind, "List"):
			err = fmt.Errorf("found a %q instead of a list", kind.Kind)
		default:
			complete = true
			err = readItems(&field, &memory, empty, take, &meta)
		}
		if err != nil {
			return meta, err
		}
	}
}

// readItems reads a list without its envelope.
func readItems[T runtime.Object](list *message, memory *scratch, empty func() T, take func(T), meta *metav1.ListMeta) error {
	for {
		number, field, err := list.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
		case number == fieldListMeta:
			err = memory.read(&field, meta)
		case number == fieldItems:
			obj := empty()
			if err = memory.readObject(&field, any(obj).(unmarshaler)); err == nil {
				take(obj)
			}
		default:
			err = field.skip()
		}
		if err != nil {
			return err
		}
	}
}

// message is a message of the wire, or what is left of one. A field of it has to be
// read, or skipped, before the next.
type message struct {
	in   *bufio.Reader
	left int64
	// nested says that its length is known: the input must not end before it does.
	nested bool
}

// next returns the next field, or io.EOF after the last.
func (m *message) next() (number uint64, field message, err error) {
	tag, err := binary.ReadUvarint(m)
	if err != nil {
		return 0, field, err
	}
	if tag&7 != uint64(protowire.BytesType) {
		return 0, field, fmt.Errorf("field %d has wire type %d", tag>>3, tag&7)
	}
	length, err := binary.ReadUvarint(m)
	if err != nil {
		return 0, field, whole(err)
	}
	if length > uint64(m.left) {
		return 0, field, fmt.Errorf("field %d is longer than its message", tag>>3)
	}
	m.left -= int64(length)
	return tag >> 3, message{in: m.in, left: int64(length), nested: true}, nil
}

// ReadByte reads what belongs to a tag or a length.
func (m *message) ReadByte() (byte, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	m.left--
	b, err := m.in.ReadByte()
	if m.nested {
		err = whole(err)
	}
	return b, err
}

func (m *message) skip() error {
	_, err := io.CopyN(io.Discard, m.in, m.left)
	return whole(err)
}

// whole turns the end of the input inside of a message into an error.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// scratch is memory for the encoding of one object after the other. What is read from it
// keeps nothing of it.
type scratch struct{ whole, trimmed []byte }

// read reads a message.
func (s *scratch) read(m *message, into unmarshaler) error {
	if err := s.fill(m); err != nil {
		return err
	}
	return into.Unmarshal(s.whole)
}

// readObject reads an object without its managedFields, which are often the larger half,
// and nothing to decode only to be dropped.
func (s *scratch) readObject(m *message, into unmarshaler) error {
	if err := s.fill(m); err != nil {
		return err
	}
	s.trimmed = appendWithoutManagedFields(s.trimmed[:0], s.whole)
	return into.Unmarshal(s.trimmed)
}

func (s *scratch) fill(m *message) error {
	if m.left > longestField {
		return fmt.Errorf("found an object of %d bytes, more than the %d there can be", m.left, longestField)
	}
	s.whole = slices.Grow(s.whole[:0], int(m.left))[:m.left]
	_, err := io.ReadFull(m.in, s.whole)
	return whole(err)
}

// appendWithoutManagedFields appends the encoding of an object, but for that. What cannot
// be read is appended as it is: whoever decodes it will say so.
func appendWithoutManagedFields(to, object []byte) []byte {
	for len(object) > 0 {
		number, field, rest, ok := cutField(object)
		if !ok {
			return append(to, object...)
		}
		if value, isMessage := messageOf(field); number == fieldObjectMeta && isMessage {
			to = appendMeta(to, value)
		} else {
			to = append(to, field...)
		}
		object = rest
	}
	return to
}

// appendMeta appends the field of an object that has its metadata.
func appendMeta(to, meta []byte) []byte {
	length := 0
	kept := func(yield func([]byte) bool) {
		for left := meta; len(left) > 0; {
			number, field, rest, ok := cutField(left)
			if !ok {
				yield(left)
				return
			}
			if number != fieldManagedFields && !yield(field) {
				return
			}
			left = rest
		}
	}
	for field := range kept {
		length += len(field)
	}
	to = protowire.AppendTag(to, fieldObjectMeta, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(length))
	for field := range kept {
		to = append(to, field...)
	}
	return to
}

// cutField returns the first field of a message, with its tag.
func cutField(b []byte) (number protowire.Number, field, rest []byte, ok bool) {
	number, _, n := protowire.ConsumeField(b)
	if n < 0 {
		return 0, nil, nil, false
	}
	return number, b[:n], b[n:], true
}

// messageOf returns what a field has, if that is bytes.
func messageOf(field []byte) ([]byte, bool) {
	_, kind, n := protowire.ConsumeTag(field)
	if kind != protowire.BytesType {
		return nil, false
	}
	value, _ := protowire.ConsumeBytes(field[n:])
	return value, true
}
