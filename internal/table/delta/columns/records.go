package columns

import (
	"fmt"
	"iter"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// Records yields every row as what JSON would hold: maps, lists, strings,
// numbers and booleans, with nulls left out of maps. Only leaf columns whose path
// is wanted are read. It is for the few rows of a file whose every field has to
// be handed on; [File.Rows] is many times faster. Byte arrays are taken to be
// text.
func (f *File) Records(wanted func(path []string) bool) iter.Seq2[map[string]any, error] {
	var leaves []int
	at := map[int]int{} // a leaf's place among those that are read
	for i, path := range f.Schema().Columns() {
		if wanted(path) {
			at[i] = len(leaves)
			leaves = append(leaves, i)
		}
	}
	root := prune(f.Root(), at)
	return func(yield func(map[string]any, error) bool) {
		for raw, err := range f.Rows(leaves) {
			if err != nil {
				yield(nil, err)
				return
			}
			r := record{raw, make([]int, len(raw))}
			out, err := r.safely(root)
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// node is a column of the schema with those of its leaves that are read.
type node struct {
	*parquet.Column
	children []*node
	leaf     int // among those that are read; the first one below a group
	leaves   []int
}

// prune leaves out what is not read. It returns nil where nothing remains.
func prune(c *parquet.Column, at map[int]int) *node {
	n := &node{Column: c}
	if c.Leaf() {
		i, ok := at[c.Index()]
		if !ok {
			return nil
		}
		n.leaf, n.leaves = i, []int{i}
		return n
	}
	for _, child := range c.Columns() {
		if k := prune(child, at); k != nil {
			n.children = append(n.children, k)
			n.leaves = append(n.leaves, k.leaves...)
		}
	}
	if n.leaves == nil {
		return nil
	}
	n.leaf = n.leaves[0]
	return n
}

// record is one row: the values of each leaf, and how many of them were taken.
type record struct {
	values [][]parquet.Value
	taken  []int
}

func (r record) safely(root *node) (out map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil { // levels that contradict the schema
			err = fmt.Errorf("%w: %v", ErrMalformed, p)
		}
	}()
	if root == nil {
		return map[string]any{}, nil
	}
	out, _ = r.group(root).(map[string]any)
	return out, nil
}

// next is the next value of a node's first leaf; false at the end of the row.
func (r record) next(n *node) (parquet.Value, bool) {
	if i := r.taken[n.leaf]; i < len(r.values[n.leaf]) {
		return r.values[n.leaf][i], true
	}
	return parquet.Value{}, false
}

// value assembles what a node holds; nil where it is null.
func (r record) value(n *node) any {
	if v, ok := r.next(n); n.Optional() && (!ok || v.DefinitionLevel() < n.MaxDefinitionLevel()) {
		r.skip(n)
		return nil
	}
	return r.one(n)
}

func (r record) skip(n *node) {
	for _, i := range n.leaves {
		r.taken[i]++
	}
}

func (r record) one(n *node) any {
	if n.Leaf() {
		v := r.values[n.leaf][r.taken[n.leaf]]
		r.taken[n.leaf]++
		return plain(v)
	}
	return r.group(n)
}

func (r record) group(n *node) any {
	if len(n.children) == 1 && n.children[0].Repeated() {
		return r.repeated(n.children[0])
	}
	out := make(map[string]any, len(n.children))
	for _, c := range n.children {
		if v := r.value(c); v != nil {
			out[c.Name()] = v
		}
	}
	return out
}

// repeated assembles a list, or a map where the elements are keys and values.
func (r record) repeated(n *node) any {
	var all []any
	if v, ok := r.next(n); !ok || v.DefinitionLevel() < n.MaxDefinitionLevel() {
		r.skip(n)
	} else {
		for again := true; again; {
			all = append(all, r.one(n))
			v, ok := r.next(n)
			again = ok && v.RepetitionLevel() == n.MaxRepetitionLevel()
		}
	}
	if slices.ContainsFunc(n.children, func(c *node) bool { return c.Name() == "key" }) {
		pairs := make(map[string]any, len(all))
		for _, e := range all {
			if pair, ok := e.(map[string]any); ok {
				pairs[fmt.Sprint(pair["key"])] = pair["value"] // a null value stays
			}
		}
		return pairs
	}
	for i, e := range all {
		if m, ok := e.(map[string]any); ok && len(n.children) == 1 {
			all[i] = m[n.children[0].Name()]
		}
	}
	if all == nil {
		return []any{}
	}
	return all
}

func plain(v parquet.Value) any {
	switch v.Kind() {
	case parquet.Boolean:
		return v.Boolean()
	case parquet.Int32:
		return v.Int32()
	case parquet.Int64:
		return v.Int64()
	case parquet.Float:
		return v.Float()
	case parquet.Double:
		return v.Double()
	}
	return string(v.ByteArray())
}
