module engine-reader

go 1.19
