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

// wireBytes is the wire type of strings and messages, which all of them are.
const wireBytes = 2

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
			if err = memory.read(&field, any(obj).(unmarshaler)); err == nil {
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
	if tag&7 != wireBytes {
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

// scratch is memory for the encoding of one object after the other.
type scratch struct{ bytes []byte }

// read reads a message into an object, which keeps nothing of the encoding.
func (s *scratch) read(m *message, into unmarshaler) error {
	if m.left > longestField {
		return fmt.Errorf("found an object of %d bytes, more than the %d there can be", m.left, longestField)
	}
	s.bytes = slices.Grow(s.bytes[:0], int(m.left))[:m.left]
	if _, err := io.ReadFull(m.in, s.bytes); err != nil {
		return whole(err)
	}
	return into.Unmarshal(s.bytes)
}
