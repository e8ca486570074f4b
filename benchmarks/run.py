from bench import channel, codecs, derivation, start, lot
from bench.figures import table
import sys
fs=[]
for m in (channel, derivation, codecs, start):
    fs+=m.figures()
L=lot.figures(lot=500, rows=100000, worked=300)
print(table(fs+L.figures)); print("\n".join(L.notes))
