// Package torture holds the product against disasters at random moments, on the
// real laboratory: see its tests.
//
//	make torture SEEDS=30                              the long set
//	BREAKWATER_SEED=7 go test ./lab/torture -v         one seed again
package torture
