module dray

go 1.26.0
